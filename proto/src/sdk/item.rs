//! Items of lists: texts only, and what is absent is left out, because one explicit null kills a client's whole list.

use serde::Serialize;

/// An item of getReceivedEdocList. Times are opaque to clients; ours are `yyyy/MM/dd HH:mm:ss` in Vietnam.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Names it in getEdoc, downloadEdoc and updateStatus; becomes a file's name at the client.
    #[serde(rename = "docId")]
    pub doc_id: String,
    /// `eDoc`.
    #[serde(rename = "serviceType", skip_serializing_if = "String::is_empty")]
    pub service_type: String,
    /// `edoc` or `status`.
    #[serde(rename = "messageType", skip_serializing_if = "String::is_empty")]
    pub message_type: String,
    /// When the sender made it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_time: String,
    /// When it came.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub updated_time: String,
    /// Sending code.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// Which of the system's codes it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// State, a word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// State, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status_desc: String,
}

/// An item of getSentEdocList: one per recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// `eDoc`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_type: String,
    /// `edoc` or `status`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message_type: String,
    /// The DocId that sendEdoc gave.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sender_doc_id: String,
    /// The docId under which the recipient's system lists it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub receiver_doc_id: String,
    /// Sending code.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from_code: String,
    /// Receiving code.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to_code: String,
    /// Trích yếu.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Number and notation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub notation: String,
    /// When the node accepted it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sent_time: String,
    /// When the recipient's node had it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub received_time: String,
    /// Where it stands, a word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub send_status: String,
    /// Where it stands, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub send_status_desc: String,
    /// The recipient's last business status, 01 … 16.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub receive_status: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub receive_status_desc: String,
}

/// An item of getAgenciesList.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agency {
    /// The code: it never changes hands.
    pub id: String,
    /// The superior agency's `id`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pid: String,
    /// The code.
    pub code: String,
    /// The official name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The code of before, in the form of QCVN 102:2016.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub old_code: String,
}

/// An item of getAgenciesListQD20.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AgencyQd20 {
    /// The code.
    pub id: String,
    /// The code.
    pub code: String,
    /// The official name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The code in the form of QCVN 102:2016.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code102: String,
}

/// An item of getSynchronizeUnit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// The code.
    pub id: String,
    /// The superior agency's `id`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pid: String,
    /// The code.
    pub code: String,
    /// The official name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The directory's version; anything but a number kills the client's list.
    pub version: i32,
    /// The code of level 1.
    pub center_code: String,
    /// True once it is closed.
    pub deleted: bool,
    /// From when on it is as it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub modify_date: String,
    /// Always true: the directory lists agencies.
    pub is_agency: bool,
}
