//! A new origin of a ledger, begun by `truc-node recover` or `truc-relay recover`.

use std::path::PathBuf;

use truc_proto::Checkpoint;

/// A new origin, begun.
#[derive(Debug)]
pub struct Begun {
    /// The request to be bound, for the axis operator.
    pub binding: PathBuf,
    /// The new origin.
    pub origin: String,
    /// The last checkpoint known of the old one.
    pub known: Checkpoint,
    /// Leaves of the old one that the new one continues.
    pub kept: u64,
}

impl Begun {
    /// What has happened, and the steps that come next, each in English and in Vietnamese.
    #[must_use]
    pub fn told(&self, steps: [(&str, &str); 2]) -> String {
        let Self { binding, origin, known, kept } = self;
        let (old, size, binding) = (known.origin(), known.size, binding.display().to_string());
        let [(first, one), (second, two)] = steps.map(|(english, vietnamese)| {
            (english.replace("{binding}", &binding), vietnamese.replace("{binding}", &binding))
        });
        format!(
            "The ledger goes on as {origin}. Of {old} the last known checkpoint has {size} leaves; {kept} of them are here.\n\
             1. {first}\n2. {second}\n\
             Sổ tiếp tục với tên {origin}. Điểm chốt cuối được biết của {old} có {size} dòng; ở đây còn {kept} dòng.\n\
             1. {one}\n2. {two}"
        )
    }
}
