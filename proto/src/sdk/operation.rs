//! Which operation a path names.

/// The operations of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// All agencies, with old codes.
    AgenciesList,
    /// The agencies of one level, with the codes of QCVN 102.
    AgenciesListQd20,
    /// Asks for a new agency.
    RegisterAgency,
    /// Asks for an agency to be closed.
    DeleteAgency,
    /// All agencies, with their validity.
    SynchronizeUnit,
    /// Hands a packet over.
    SendEdoc,
    /// What waits for the document system.
    ReceivedEdocList,
    /// Where a sent packet stands with each recipient.
    SentEdocList,
    /// A packet, in JSON.
    Edoc,
    /// A packet, as it is.
    DownloadEdoc,
    /// Says that a packet was taken.
    UpdateStatus,
    /// How many documents wait.
    CountReceiveEdoc,
    /// How many statuses wait.
    CountReceiveStatus,
}

impl Operation {
    /// All, with the last segment of their paths.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::AgenciesList, "getAgenciesList"),
        (Self::AgenciesListQd20, "getAgenciesListQD20"),
        (Self::RegisterAgency, "registerAgency"),
        (Self::DeleteAgency, "deleteAgency"),
        (Self::SynchronizeUnit, "getSynchronizeUnit"),
        (Self::SendEdoc, "sendEdoc"),
        (Self::ReceivedEdocList, "getReceivedEdocList"),
        (Self::SentEdocList, "getSentEdocList"),
        (Self::Edoc, "getEdoc"),
        (Self::DownloadEdoc, "downloadEdoc"),
        (Self::UpdateStatus, "updateStatus"),
        (Self::CountReceiveEdoc, "countReceiveEdoc"),
        (Self::CountReceiveStatus, "countReceiveStatus"),
    ];

    /// The operation of a request's path behind `prefix` (`/api/v1`, or empty). Slashes in a row count as one: an endpoint configured
    /// with a slash at its end gives `//sendEdoc`, and a redirect would make the client lose the file.
    #[must_use]
    pub fn of_path(path: &str, prefix: &str) -> Option<Self> {
        let segments =
            |text: &str| text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let path = segments(path);
        let (name, before) = path.split_last()?;
        if before != segments(prefix) {
            return None;
        }
        Self::ALL.iter().find(|(_, known)| known == name).map(|(operation, _)| *operation)
    }

    /// The last segment of its path.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(operation, _)| *operation == self).map_or("", |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_name() {
        for (operation, name) in Operation::ALL {
            assert_eq!(Operation::of_path(&format!("/{name}"), ""), Some(operation));
            assert_eq!(operation.name(), name);
        }
        assert_eq!(Operation::of_path("/getedoc", ""), None);
        assert_eq!(Operation::of_path("/", ""), None);
    }

    #[test]
    fn slashes_in_a_row_count_as_one_and_a_prefix_is_kept_apart() {
        for path in ["/api/v1/sendEdoc", "//api//v1//sendEdoc", "/api/v1//sendEdoc", "/api/v1/sendEdoc/"] {
            assert_eq!(Operation::of_path(path, "/api/v1"), Some(Operation::SendEdoc), "{path}");
            assert_eq!(Operation::of_path(path, "api/v1/"), Some(Operation::SendEdoc), "{path}");
        }
        assert_eq!(Operation::of_path("//sendEdoc", ""), Some(Operation::SendEdoc));
        assert_eq!(Operation::of_path("/api/v2/sendEdoc", "/api/v1"), None);
        assert_eq!(Operation::of_path("/sendEdoc", "/api/v1"), None);
    }
}
