//! The named checks, in the order in which they are made.

macro_rules! checks {
    ($(#[$about:meta])+ $name:ident;
        $($(#[$doc:meta])+ $variant:ident = $id:literal,
        en: $en:literal, vi: $vi:literal, fix_en: $fix_en:literal, fix_vi: $fix_vi:literal;)+) => {
        $(#[$about])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])+ $variant),+ }

        impl $name {
            /// All, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name in reports, e.g. `leaf-included`. Never changes.
            #[must_use]
            pub const fn id(self) -> &'static str { match self { $(Self::$variant => $id),+ } }

            /// What holds when it passes, in English.
            #[must_use]
            pub const fn english(self) -> &'static str { match self { $(Self::$variant => $en),+ } }

            /// What holds when it passes, in Vietnamese.
            #[must_use]
            pub const fn vietnamese(self) -> &'static str { match self { $(Self::$variant => $vi),+ } }

            /// What it means when it does not, and who must do what, in English.
            #[must_use]
            pub const fn consequence_english(self) -> &'static str { match self { $(Self::$variant => $fix_en),+ } }

            /// What it means when it does not, and who must do what, in Vietnamese.
            #[must_use]
            pub const fn consequence_vietnamese(self) -> &'static str { match self { $(Self::$variant => $fix_vi),+ } }
        }

        impl crate::Step<$name> {
            /// The step explained in English.
            #[must_use]
            pub const fn english(&self) -> &'static str {
                match self.outcome {
                    crate::Outcome::Failed | crate::Outcome::Unknown => self.check.consequence_english(),
                    _ => self.check.english(),
                }
            }

            /// The step explained in Vietnamese.
            #[must_use]
            pub const fn vietnamese(&self) -> &'static str {
                match self.outcome {
                    crate::Outcome::Failed | crate::Outcome::Unknown => self.check.consequence_vietnamese(),
                    _ => self.check.vietnamese(),
                }
            }
        }
    };
}
pub(crate) use checks;

checks! {
    /// One thing that must hold for a receipt to prove anything. Each can be wrong while all others hold.
    Check;
    /// The file is a C2SP tlog-proof with a strict `receipt` statement and a signed checkpoint in it.
    ReceiptForm = "receipt-form",
        en: "the file is a receipt", vi: "tệp đúng dạng biên nhận",
        fix_en: "The file is damaged or no receipt; ask its holder for the original.",
        fix_vi: "Tệp hỏng hoặc không phải biên nhận; đề nghị nơi giữ cung cấp bản gốc.";
    /// The leaf is an unambiguous `submission` or `event` of version 1.
    LeafForm = "leaf-form",
        en: "the event is well-formed", vi: "sự kiện đúng định dạng",
        fix_en: "The event can be read in more than one way; its actor must correct its software.",
        fix_vi: "Sự kiện có thể hiểu nhiều cách; bên lập phải sửa phần mềm.";
    /// The event may be written in the role that its actor claims (docs/FORMATS.md, "Event").
    RoleFitsEvent = "role-fits-event",
        en: "the event belongs to the actor's role", vi: "sự kiện phù hợp vai trò của bên lập",
        fix_en: "Nobody can state this event in that role; it proves nothing.",
        fix_vi: "Không bên nào được lập sự kiện này với vai trò đó; không có giá trị chứng minh.";
    /// The actor's code is the event's sender or recipient, as its role demands; the relay has none.
    CodeFitsRole = "code-fits-role",
        en: "the actor speaks for its own code", vi: "bên lập dùng đúng mã của mình",
        fix_en: "The actor speaks about another agency's part; ask that agency for its own receipt.",
        fix_vi: "Bên lập nói về phần của cơ quan khác; hãy yêu cầu biên nhận của chính cơ quan đó.";
    /// The fields of the leaf agree with each other.
    LeafConsistent = "leaf-consistent",
        en: "the event's fields agree", vi: "các trường của sự kiện thống nhất",
        fix_en: "The event contradicts itself; its actor must correct its software.",
        fix_vi: "Sự kiện tự mâu thuẫn; bên lập phải sửa phần mềm.";
    /// The inclusion proof leads from the recomputed leaf hash to the checkpoint's root.
    LeafIncluded = "leaf-included",
        en: "the event stands in the ledger", vi: "sự kiện nằm trong sổ cái",
        fix_en: "The event was changed or never stood in that ledger; it proves nothing.",
        fix_vi: "Sự kiện đã bị sửa hoặc chưa từng có trong sổ cái đó; không có giá trị chứng minh.";
    /// The checkpoint's origin is that of the node's directory entry.
    CheckpointOrigin = "checkpoint-origin",
        en: "the checkpoint is of the node's ledger", vi: "điểm chốt thuộc sổ cái của nút",
        fix_en: "The checkpoint is of another ledger; ask for a receipt of the node that acted.",
        fix_vi: "Điểm chốt thuộc sổ cái khác; hãy yêu cầu biên nhận của đúng nút đã thực hiện.";
    /// The ledger key of the node's entry signed the checkpoint.
    LedgerSignature = "ledger-signature",
        en: "the ledger key signed the checkpoint", vi: "khóa sổ cái đã ký điểm chốt",
        fix_en: "The node's ledger key did not sign this; it proves nothing.",
        fix_vi: "Khóa sổ cái của nút không ký điểm chốt này; không có giá trị chứng minh.";
    /// The checkpoint carries a line by a certificate of the node's entry. Without: provisional.
    CertificateLine = "certificate-line",
        en: "the checkpoint carries the certificate's signature", vi: "điểm chốt có chữ ký của chứng thư số",
        fix_en: "The receipt is provisional: the node has not yet signed with its certificate; fetch it again in a moment.",
        fix_vi: "Biên nhận tạm thời: nút chưa ký bằng chứng thư số; hãy lấy lại biên nhận sau ít phút.";
    /// The certificate's CMS holds over the checkpoint's text.
    CertificateSignature = "certificate-signature",
        en: "the certificate's signature holds over the checkpoint", vi: "chữ ký của chứng thư số đúng với điểm chốt",
        fix_en: "The signature does not belong to this checkpoint; it proves nothing.",
        fix_vi: "Chữ ký không thuộc điểm chốt này; không có giá trị chứng minh.";
    /// The CMS was made by the certificate that the node's entry binds.
    CertificateSigner = "certificate-signer",
        en: "the signer is the node's certificate in the directory", vi: "người ký là chứng thư của nút trong danh bạ",
        fix_en: "Somebody else signed the checkpoint; it proves nothing about this node.",
        fix_vi: "Bên khác đã ký điểm chốt; không chứng minh gì về nút này.";
    /// The certificate has a path to the anchors and may be used for this.
    CertificatePath = "certificate-path",
        en: "the certificate leads to a trusted authority", vi: "chứng thư dẫn tới cơ quan chứng thực tin cậy",
        fix_en: "No trusted authority stands behind the certificate; check the anchors, else do not rely on it.",
        fix_vi: "Không có cơ quan chứng thực tin cậy bảo đảm; kiểm tra tệp gốc tin cậy, nếu đúng thì không sử dụng.";
    /// The certificate was within its own validity when it signed.
    CertificateTime = "certificate-time",
        en: "the certificate was valid when it signed", vi: "chứng thư còn hiệu lực khi ký",
        fix_en: "It signed outside its validity; the node must sign again with a valid certificate.",
        fix_vi: "Chứng thư ký ngoài thời hạn hiệu lực; nút phải ký lại bằng chứng thư còn hiệu lực.";
    /// The operator had bound the certificate for the time at which it signed.
    CertificateBound = "certificate-bound",
        en: "the operator had bound the certificate for that time", vi: "chứng thư được đăng ký trong danh bạ cho thời điểm đó",
        fix_en: "The directory did not let this certificate act then; ask the axis operator.",
        fix_vi: "Danh bạ không cho phép chứng thư này vào thời điểm đó; hãy hỏi đơn vị vận hành trục.";
    /// Not revoked or suspended, by the signed entry, the lists and the answers at hand, before it signed; later revocation without a time-stamp leaves doubt.
    CertificateRevocation = "certificate-revocation",
        en: "no revocation of the certificate is known, from the directory as issued and from those revocation lists and OCSP answers that count",
        vi: "chưa biết việc thu hồi nào đối với chứng thư, theo danh bạ lúc phát hành và các danh sách thu hồi, trả lời OCSP được tính",
        fix_en: "A revoked certificate proves nothing after its revocation, and before it only with a time-stamp.",
        fix_vi: "Chứng thư đã thu hồi không còn giá trị sau thời điểm thu hồi; trước đó chỉ có giá trị nếu có dấu thời gian.";
    /// The certificate has not expired since, or a time-stamp shows that it signed before.
    CertificateExpiry = "certificate-expiry",
        en: "the certificate has not expired, or a time-stamp shows that it signed before",
        vi: "chứng thư chưa hết hạn, hoặc có dấu thời gian chứng tỏ đã ký trước khi hết hạn",
        fix_en: "Expired, and no time-stamp shows that it had signed before; ask the node that acted for its receipt signed anew.",
        fix_vi: "Chứng thư đã hết hạn và không có dấu thời gian chứng tỏ đã ký trước đó; đề nghị nút đã lập cấp lại biên nhận ký mới.";
    /// The time-stamps on the certificate's signature are of it and by a time-stamping authority, where there are any.
    TimeStamps = "time-stamps",
        en: "the time-stamps belong to the certificate's signature", vi: "dấu thời gian thuộc đúng chữ ký của chứng thư số",
        fix_en: "A time-stamp here is none, or of something else; ask the node that acted for its own receipt.",
        fix_vi: "Có dấu thời gian không hợp lệ hoặc thuộc nội dung khác; đề nghị nút đã lập cung cấp biên nhận của chính nút đó.";
    /// Where a policy is given: enough of its witnesses cosigned the checkpoint, and none of their lines is wrong.
    Witnesses = "witnesses",
        en: "as many witnesses cosigned the checkpoint as the policy demands", vi: "điểm chốt có đủ bên chứng kiến theo chính sách",
        fix_en: "The witnesses that the policy relies on do not stand behind it; ask the node for the receipt anew, and tell the axis operator if it stays so.",
        fix_vi: "Chưa đủ bên chứng kiến mà chính sách yêu cầu; hãy yêu cầu nút cung cấp lại biên nhận, nếu vẫn vậy thì báo đơn vị vận hành trục.";
    /// The directory root is an unambiguous statement.
    RootForm = "root-form",
        en: "the directory root is well-formed", vi: "gốc danh bạ đúng định dạng",
        fix_en: "The directory root can be read in more than one way; the axis operator must publish a right one.",
        fix_vi: "Gốc danh bạ có thể hiểu nhiều cách; đơn vị vận hành trục phải phát hành lại.";
    /// The CMS over the directory root holds.
    RootSignature = "root-signature",
        en: "the signature over the directory root holds", vi: "chữ ký trên gốc danh bạ đúng",
        fix_en: "This directory root was not signed; it entitles nobody.",
        fix_vi: "Gốc danh bạ này không được ký; không trao quyền cho ai.";
    /// The pinned operator signed the directory root.
    RootSigner = "root-signer",
        en: "the pinned operator signed the directory root", vi: "đơn vị vận hành đã ghim ký gốc danh bạ",
        fix_en: "Somebody other than the pinned operator signed; check `--operator`, else do not rely on it.",
        fix_vi: "Không phải đơn vị vận hành đã ghim ký; kiểm tra `--operator`, nếu đúng thì không sử dụng.";
    /// The operator's certificate has a path to the anchors and may be used for this.
    OperatorPath = "operator-path",
        en: "the operator's certificate leads to a trusted authority", vi: "chứng thư đơn vị vận hành dẫn tới cơ quan chứng thực tin cậy",
        fix_en: "No trusted authority stands behind the operator's certificate; check the anchors.",
        fix_vi: "Không có cơ quan chứng thực tin cậy bảo đảm chứng thư đơn vị vận hành; kiểm tra tệp gốc tin cậy.";
    /// The operator's certificate was within its validity when the root was issued.
    OperatorTime = "operator-time",
        en: "the operator's certificate was valid at issue", vi: "chứng thư đơn vị vận hành còn hiệu lực khi phát hành",
        fix_en: "The root was issued outside the validity of the operator's certificate; it entitles nobody.",
        fix_vi: "Gốc danh bạ phát hành ngoài thời hạn chứng thư của đơn vị vận hành; không trao quyền cho ai.";
    /// The operator's certificate was not revoked before the root was issued, by the lists and the answers at hand; later revocation leaves doubt.
    OperatorRevocation = "operator-revocation",
        en: "no revocation of the operator's certificate is known from those revocation lists and OCSP answers that count", vi: "chưa biết việc thu hồi nào đối với chứng thư đơn vị vận hành, theo các danh sách thu hồi, trả lời OCSP được tính",
        fix_en: "The operator's certificate is revoked; ask the operator for a root signed anew.",
        fix_vi: "Chứng thư đơn vị vận hành đã bị thu hồi; đề nghị đơn vị vận hành ký lại gốc danh bạ.";
    /// The operator's certificate has not expired since, or a time-stamp shows that it signed before.
    OperatorExpiry = "operator-expiry",
        en: "the operator's certificate has not expired, or a time-stamp shows that it signed before",
        vi: "chứng thư đơn vị vận hành chưa hết hạn, hoặc có dấu thời gian chứng tỏ đã ký trước khi hết hạn",
        fix_en: "Expired, and no time-stamp shows that the root had been signed before; ask the node that acted for a receipt under a newer root.",
        fix_vi: "Chứng thư đã hết hạn và không có dấu thời gian chứng tỏ gốc danh bạ đã ký trước đó; đề nghị nút đã lập cấp biên nhận kèm gốc danh bạ mới hơn.";
    /// The time-stamps on the operator's signature are of it and by a time-stamping authority, where there are any.
    RootTimeStamps = "root-time-stamps",
        en: "the time-stamps belong to the operator's signature", vi: "dấu thời gian thuộc đúng chữ ký của đơn vị vận hành",
        fix_en: "A time-stamp here is none, or of something else; ask the operator for the directory root as it was signed.",
        fix_vi: "Có dấu thời gian không hợp lệ hoặc thuộc nội dung khác; đề nghị đơn vị vận hành cung cấp gốc danh bạ nguyên bản.";
    /// The node's entry is an unambiguous statement.
    NodeForm = "node-form",
        en: "the node's entry is well-formed", vi: "mục danh bạ của nút đúng định dạng",
        fix_en: "The node's entry can be read in more than one way; the axis operator must correct it.",
        fix_vi: "Mục danh bạ của nút có thể hiểu nhiều cách; đơn vị vận hành trục phải sửa.";
    /// The node's entry stands in the signed directory.
    NodeIncluded = "node-included",
        en: "the node's entry stands in the directory", vi: "mục của nút nằm trong danh bạ",
        fix_en: "The node's entry was changed or never signed; it entitles nobody.",
        fix_vi: "Mục của nút đã bị sửa hoặc chưa từng được ký; không trao quyền cho ai.";
    /// The agency's entry is an unambiguous statement.
    AgencyForm = "agency-form",
        en: "the agency's entry is well-formed", vi: "mục danh bạ của cơ quan đúng định dạng",
        fix_en: "The agency's entry can be read in more than one way; the axis operator must correct it.",
        fix_vi: "Mục danh bạ của cơ quan có thể hiểu nhiều cách; đơn vị vận hành trục phải sửa.";
    /// The agency's entry stands in the signed directory.
    AgencyIncluded = "agency-included",
        en: "the agency's entry stands in the directory", vi: "mục của cơ quan nằm trong danh bạ",
        fix_en: "The agency's entry was changed or never signed; it entitles nobody.",
        fix_vi: "Mục của cơ quan đã bị sửa hoặc chưa từng được ký; không trao quyền cho ai.";
    /// The root was issued when the event happened (clocks may differ by five minutes).
    RootIssued = "root-issued",
        en: "the directory root was issued before the event", vi: "gốc danh bạ phát hành trước sự kiện",
        fix_en: "The root is later than the event and proves nothing about that time; the receipt needs the root then in force.",
        fix_vi: "Gốc danh bạ có sau sự kiện; biên nhận phải kèm gốc danh bạ có hiệu lực khi đó.";
    /// The root was not past its end and the grace of 30 days at the event.
    RootCurrent = "root-current",
        en: "the directory root was in force at the event", vi: "gốc danh bạ còn hiệu lực khi có sự kiện",
        fix_en: "The root had run out before the event; the receipt needs the root then in force.",
        fix_vi: "Gốc danh bạ đã hết hạn trước sự kiện; biên nhận phải kèm gốc danh bạ có hiệu lực khi đó.";
    /// The root is the one a submission relied on, or a later one.
    RootReliedOn = "root-relied-on",
        en: "the directory is the one that the sender relied on", vi: "danh bạ đúng bản mà bên gửi đã dùng",
        fix_en: "The sender relied on another directory; two histories exist, ask the axis operator.",
        fix_vi: "Bên gửi dùng bản danh bạ khác; tồn tại hai lịch sử danh bạ, hãy hỏi đơn vị vận hành trục.";
    /// The relay's role is the relay's, all others are nodes'.
    NodeKind = "node-kind",
        en: "node or relay, as the role demands", vi: "đúng là nút hoặc máy chuyển tiếp theo vai trò",
        fix_en: "A node speaks as the relay or the relay as a node; it proves nothing.",
        fix_vi: "Nút đóng vai máy chuyển tiếp hoặc ngược lại; không có giá trị chứng minh.";
    /// The event's node is the one whose entry and ledger these are.
    NodeIsActor = "node-is-actor",
        en: "the actor's node is the ledger's", vi: "nút của bên lập là chủ sổ cái",
        fix_en: "One node's event stands in another's ledger; it proves nothing.",
        fix_vi: "Sự kiện của nút này nằm trong sổ cái nút khác; không có giá trị chứng minh.";
    /// The entry's ledger origin names axis, lane, node and epoch.
    NodeOrigin = "node-origin",
        en: "the ledger's origin names this axis, lane and node", vi: "tên sổ cái đúng trục, luồng và nút",
        fix_en: "The ledger belongs to another axis, lane or node; the axis operator must correct the entry.",
        fix_vi: "Sổ cái thuộc trục, luồng hoặc nút khác; đơn vị vận hành trục phải sửa mục danh bạ.";
    /// The node serves the directory's lane.
    NodeLane = "node-lane",
        en: "the node serves this lane", vi: "nút thuộc đúng luồng",
        fix_en: "The node is of the other lane; it proves nothing here.",
        fix_vi: "Nút thuộc luồng khác; không có giá trị ở luồng này.";
    /// Whoever speaks for an agency shows that agency's entry.
    AgencyShown = "agency-shown",
        en: "the agency's entry is there", vi: "có mục danh bạ của cơ quan",
        fix_en: "Nothing shows that the node may use the code; ask for a complete receipt.",
        fix_vi: "Không có gì chứng tỏ nút được dùng mã này; hãy yêu cầu biên nhận đầy đủ.";
    /// The agency entry is that of the actor's code.
    AgencyIsActor = "agency-is-actor",
        en: "the agency's entry is of the actor's code", vi: "mục danh bạ đúng mã của bên lập",
        fix_en: "The entry shown is another agency's; it entitles nobody to this code.",
        fix_vi: "Mục danh bạ thuộc cơ quan khác; không trao quyền dùng mã này.";
    /// The agency's entry names the node: the node may use the code.
    AgencyNode = "agency-node",
        en: "the directory binds the code to this node", vi: "danh bạ gắn mã với nút này",
        fix_en: "This node may not use the code: one agency's key was used for another; tell both and the axis operator.",
        fix_vi: "Nút này không được dùng mã đó: khóa của cơ quan này dùng cho cơ quan khác; báo hai bên và đơn vị vận hành trục.";
    /// The agency takes part in the directory's lane.
    AgencyLane = "agency-lane",
        en: "the agency takes part in this lane", vi: "cơ quan tham gia luồng này",
        fix_en: "The agency does not take part in this lane; ask the axis operator.",
        fix_vi: "Cơ quan không tham gia luồng này; hãy hỏi đơn vị vận hành trục.";
    /// The code was in force at the event; a recipient's also while it still served.
    CodeInForce = "code-in-force",
        en: "the code was in force at the event", vi: "mã còn hiệu lực khi có sự kiện",
        fix_en: "The code was closed or not yet open; ask its successor or the axis operator.",
        fix_vi: "Mã đã đóng hoặc chưa mở; hãy hỏi mã kế thừa hoặc đơn vị vận hành trục.";
    /// A submission's receipt carries the preamble.
    PreambleShown = "preamble-shown",
        en: "the preamble is there", vi: "có phần mở đầu gói tin",
        fix_en: "Nothing shows to whom it was sent; ask the sender for a complete receipt.",
        fix_vi: "Không có gì cho biết gửi tới đâu; hãy yêu cầu bên gửi cung cấp biên nhận đầy đủ.";
    /// The preamble is an unambiguous statement.
    PreambleForm = "preamble-form",
        en: "the preamble is well-formed", vi: "phần mở đầu đúng định dạng",
        fix_en: "The preamble can be read in more than one way; the sender must correct its software.",
        fix_vi: "Phần mở đầu có thể hiểu nhiều cách; bên gửi phải sửa phần mềm.";
    /// The preamble is the one whose hash the event states.
    PreambleHash = "preamble-hash",
        en: "the preamble is the one that the event names", vi: "phần mở đầu đúng với sự kiện",
        fix_en: "The preamble was exchanged; ask for the original receipt.",
        fix_vi: "Phần mở đầu đã bị tráo; hãy yêu cầu biên nhận gốc.";
    /// Axis and lane of preamble and directory are the same.
    PreambleDomain = "preamble-domain",
        en: "preamble and directory are of one axis and lane", vi: "phần mở đầu và danh bạ cùng trục, cùng luồng",
        fix_en: "An envelope of another axis or lane was replayed here; it proves nothing.",
        fix_vi: "Gói tin của trục hoặc luồng khác bị dùng lại; không có giá trị chứng minh.";
    /// The lane may carry the preamble's secrecy level.
    PreambleLevel = "preamble-level",
        en: "the lane may carry the secrecy level", vi: "luồng được phép mang độ mật này",
        fix_en: "This level must not travel here; report it under the state-secrets rules.",
        fix_vi: "Độ mật này không được gửi qua luồng này; báo cáo theo quy định bảo vệ bí mật nhà nước.";
    /// The preamble's envelope id is the event's.
    PreambleEnvelope = "preamble-envelope",
        en: "the preamble is of the same envelope", vi: "phần mở đầu cùng gói tin",
        fix_en: "The preamble is of another envelope; it proves nothing.",
        fix_vi: "Phần mở đầu thuộc gói tin khác; không có giá trị chứng minh.";
    /// The preamble's sender is the event's.
    PreambleSender = "preamble-sender",
        en: "the preamble names the sender", vi: "phần mở đầu ghi đúng bên gửi",
        fix_en: "The preamble names another sender; it proves nothing about this one.",
        fix_vi: "Phần mở đầu ghi bên gửi khác; không chứng minh gì về bên gửi này.";
    /// The event's recipient is among the preamble's.
    PreambleRecipient = "preamble-recipient",
        en: "the preamble names the recipient", vi: "phần mở đầu ghi đúng bên nhận",
        fix_en: "The envelope was not addressed to that agency; it proves nothing about it.",
        fix_vi: "Gói tin không gửi tới cơ quan đó; không chứng minh gì về cơ quan đó.";
    /// A submission has a key envelope for every recipient of the preamble and for nobody else.
    SubmissionRecipients = "submission-recipients",
        en: "there is one key envelope for every recipient", vi: "mỗi bên nhận có đúng một phong bì khóa",
        fix_en: "Somebody not named could read it, or somebody named could not; the sender must make a new envelope.",
        fix_vi: "Có bên đọc được mà không được ghi, hoặc ngược lại; bên gửi phải tạo gói tin mới.";
    /// The envelope was made before the event.
    PreambleTime = "preamble-time",
        en: "the envelope was made before the event", vi: "gói tin được tạo trước sự kiện",
        fix_en: "The event is older than its envelope; a clock is wrong or the event is made up.",
        fix_vi: "Sự kiện có trước gói tin; đồng hồ sai hoặc sự kiện bị dựng lên.";
    /// The checkpoint was signed after the event.
    SignedAfter = "signed-after",
        en: "the checkpoint was signed after the event", vi: "điểm chốt được ký sau sự kiện",
        fix_en: "The signature says it is older than the event that it covers; a clock is wrong or a time is made up.",
        fix_vi: "Chữ ký có trước sự kiện mà nó bảo chứng; đồng hồ sai hoặc thời gian bị dựng lên.";
    /// Nothing of it lies in the future.
    NotFromFuture = "not-from-future",
        en: "the event lies in the past", vi: "sự kiện đã xảy ra",
        fix_en: "The event lies ahead of this machine's clock; set the clock, or do not rely on it.",
        fix_vi: "Sự kiện ở tương lai so với đồng hồ máy này; chỉnh đồng hồ, nếu đúng thì không sử dụng.";
    /// Salt and manifest of the opening hash to the commitment in the event.
    OpeningCommitment = "opening-commitment",
        en: "the opening belongs to the committed content", vi: "phần mở cam kết đúng với nội dung đã cam kết",
        fix_en: "The opening is of other content; ask for the original receipt.",
        fix_vi: "Phần mở cam kết thuộc nội dung khác; hãy yêu cầu biên nhận gốc.";
    /// The opening's manifest is of the strict profile.
    ManifestForm = "manifest-form",
        en: "the manifest is well-formed", vi: "danh mục nội dung đúng định dạng",
        fix_en: "The manifest can be read in more than one way; the sender must correct its software.",
        fix_vi: "Danh mục nội dung có thể hiểu nhiều cách; bên gửi phải sửa phần mềm.";
    /// The opening's `envelope.json` stands in the manifest.
    EnvelopeIncluded = "envelope-included",
        en: "envelope.json stands in the manifest", vi: "envelope.json có trong danh mục nội dung",
        fix_en: "envelope.json was exchanged; ask for the original receipt.",
        fix_vi: "envelope.json đã bị tráo; hãy yêu cầu biên nhận gốc.";
    /// `envelope.json` is an unambiguous statement.
    EnvelopeForm = "envelope-form",
        en: "envelope.json is well-formed", vi: "envelope.json đúng định dạng",
        fix_en: "envelope.json can be read in more than one way; the sender must correct its software.",
        fix_vi: "envelope.json có thể hiểu nhiều cách; bên gửi phải sửa phần mềm.";
    /// `envelope.json` names the preamble that the event names.
    EnvelopePreamble = "envelope-preamble",
        en: "the signed content names this preamble", vi: "nội dung đã ký ghi đúng phần mở đầu này",
        fix_en: "A document signed for another envelope was put into this one; it proves nothing here.",
        fix_vi: "Văn bản ký cho gói tin khác bị đưa vào gói tin này; không có giá trị chứng minh ở đây.";
    /// `envelope.json` says what the preamble says: axis, envelope, lane, level, kind, sender, supersedes.
    EnvelopeFields = "envelope-fields",
        en: "the signed content repeats the preamble's fields", vi: "nội dung đã ký lặp đúng các trường của phần mở đầu",
        fix_en: "Outside and inside of the envelope disagree; the sender must make a new one.",
        fix_vi: "Bên ngoài và bên trong gói tin không thống nhất; bên gửi phải tạo gói tin mới.";
    /// `envelope.json` names exactly the preamble's recipients.
    EnvelopeRecipients = "envelope-recipients",
        en: "the signed content names the same recipients", vi: "nội dung đã ký ghi đúng các bên nhận",
        fix_en: "The document was signed for other recipients; it was re-targeted.",
        fix_vi: "Văn bản được ký cho bên nhận khác; đã bị chuyển hướng.";
    /// The document shown is the container, or a file of it.
    Document = "document",
        en: "the document shown is part of what was received", vi: "văn bản đưa ra thuộc nội dung đã nhận",
        fix_en: "The document shown is not part of it, or the receipt carries no opening to tell by.",
        fix_vi: "Văn bản đưa ra không thuộc nội dung này, hoặc biên nhận không kèm phần mở cam kết để đối chiếu.";
}

/// Which checks are made. All of them, but in tests and when somebody studies a receipt that is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checks(u64);

const _: () = assert!(Check::ALL.len() <= 64, "a set of checks is 64 bits");

impl Checks {
    /// Every check: the only choice whose verdict means anything.
    #[must_use]
    pub const fn all() -> Self {
        Self(u64::MAX)
    }

    /// The same checks but one. A receipt that then verifies is one that only this check refuses.
    #[must_use]
    pub const fn without(self, check: Check) -> Self {
        Self(self.0 & !(1 << check as u8))
    }

    /// Whether a check is made.
    #[must_use]
    pub const fn contains(self, check: Check) -> bool {
        self.0 & (1 << check as u8) != 0
    }
}

impl Default for Checks {
    fn default() -> Self {
        Self::all()
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id())
    }
}
