//! Why a packet is refused, where, and what its sender must do; English by `Display`, Vietnamese by `vietnamese()`.

use std::{fmt, io};

use crate::limits::{
    ATTACHMENT_BYTES_MAX, ATTACHMENTS_MAX, EXTENSION_BYTES_MAX, PACKET_BYTES_MAX, RECIPIENTS_MAX, XML_ATTRIBUTES_MAX,
    XML_DEPTH_MAX, XML_ELEMENTS_MAX, XML_KEPT_BYTES_MAX, XML_PIECE_BYTES_MAX,
};

/// A place in a packet (of its UTF-8 form, when it came as UTF-16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Bytes before it.
    pub byte: u64,
    /// Line, from 1.
    pub line: u64,
    /// Character in the line, from 1.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {} (byte {})", self.line, self.column, self.byte)
    }
}

/// Why a packet could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The packet's fault: reading it again cannot help.
    #[error("refused at {at}: {defect}")]
    Refused {
        /// Where the trouble was noticed.
        at: Position,
        /// What is wrong.
        defect: Box<Defect>,
    },
    /// The source failed: try again.
    #[error("cannot read the packet")]
    Source(#[source] io::Error),
    /// Our own store failed: try again.
    #[error("cannot store what the packet carries")]
    Sink(#[source] io::Error),
}

impl ReadError {
    /// What is wrong with the packet, when it is the packet's fault.
    #[must_use]
    pub fn defect(&self) -> Option<&Defect> {
        match self {
            Self::Refused { defect, .. } => Some(defect),
            Self::Source(_) | Self::Sink(_) => None,
        }
    }

    /// The same message for a Vietnamese reader.
    #[must_use]
    pub fn vietnamese(&self) -> String {
        match self {
            Self::Refused { at, defect } => {
                let Position { byte, line, column } = at;
                format!("Bị từ chối tại dòng {line}, cột {column} (byte {byte}): {}", defect.vietnamese())
            }
            Self::Source(_) => "Không đọc được gói tin; hãy thử lại.".into(),
            Self::Sink(_) => "Không lưu được nội dung gói tin; quản trị hệ thống kiểm tra ổ đĩa rồi thử lại.".into(),
        }
    }
}

macro_rules! defects {
    ($( $(#[doc = $doc:literal])+ $name:ident $({ $($field:ident : $type:ty = $field_doc:literal),* })? , $key:literal , $english:literal , $vietnamese:literal ; )*) => {
        /// What is wrong with a packet. Every text says what happened and what the sender must do.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Defect {
            $( $(#[doc = $doc])+ $name $({ $(#[doc = $field_doc] $field: $type),* })?, )*
        }

        impl Defect {
            /// A stable name for logs, metrics and test vectors.
            #[must_use]
            pub fn key(&self) -> &'static str {
                match self {
                    $( Self::$name { .. } => $key, )*
                }
            }

            /// The message for a Vietnamese reader.
            #[must_use]
            pub fn vietnamese(&self) -> String {
                match self {
                    $( Self::$name $({ $($field),* })? => format!($vietnamese), )*
                }
            }
        }

        impl fmt::Display for Defect {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $( Self::$name $({ $($field),* })? => write!(f, $english), )*
                }
            }
        }
    };
}

defects! {
    /// A document type declaration: it can name entities and files.
    Doctype, "doctype",
        "the packet holds a DOCTYPE, which edXML does not use and which can read files; the sending system must leave it out",
        "gói tin chứa DOCTYPE, edXML không dùng và có thể đọc tệp; hệ thống gửi phải bỏ đi.";
    /// A reference to an entity other than the five of XML, or to no character.
    Entity { name: String = "The reference, without & and ;." }, "entity",
        "the reference &{name}; names nothing XML 1.0 knows; the sending system must write the character itself",
        "tham chiếu &{name}; không có trong XML 1.0; hệ thống gửi phải ghi thẳng ký tự.";
    /// Nested deeper than any packet.
    TooDeep, "too-deep",
        "elements are nested deeper than {XML_DEPTH_MAX}; the sending system must write a plain packet",
        "phần tử lồng nhau sâu quá {XML_DEPTH_MAX} mức; hệ thống gửi phải tạo gói tin đúng cấu trúc.";
    /// More elements than any packet.
    TooManyElements, "too-many-elements",
        "the packet holds more than {XML_ELEMENTS_MAX} elements; the sender must split it",
        "gói tin có quá {XML_ELEMENTS_MAX} phần tử; nơi gửi phải tách nhỏ.";
    /// More attributes than any element needs.
    TooManyAttributes { element: String = "The element." }, "too-many-attributes",
        "element {element} has more than {XML_ATTRIBUTES_MAX} attributes; the sending system must write a plain packet",
        "phần tử {element} có quá {XML_ATTRIBUTES_MAX} thuộc tính; hệ thống gửi phải tạo gói tin đúng cấu trúc.";
    /// More attachments than one packet may carry.
    TooManyAttachments, "too-many-attachments",
        "the packet carries or lists more than {ATTACHMENTS_MAX} attachments; the sender must split it",
        "gói tin có quá {ATTACHMENTS_MAX} tệp đính kèm; nơi gửi phải tách nhỏ.";
    /// More recipients than one packet may name.
    TooManyRecipients, "too-many-recipients",
        "the packet names more than {RECIPIENTS_MAX} recipients; the sender must split it",
        "gói tin có quá {RECIPIENTS_MAX} nơi nhận; nơi gửi phải tách nhỏ.";
    /// One tag, text or comment is longer than any real one.
    PieceTooLong { element: String = "The element it stands in." }, "piece-too-long",
        "a single tag, text or comment in {element} is longer than {XML_PIECE_BYTES_MAX} bytes; the sender must shorten it",
        "một thẻ, đoạn chữ hoặc ghi chú trong {element} dài quá {XML_PIECE_BYTES_MAX} byte; nơi gửi phải rút ngắn.";
    /// All texts together are longer than any real packet's.
    TextTooLong, "text-too-long",
        "the packet's texts outside the attachments exceed {XML_KEPT_BYTES_MAX} bytes; the sender must shorten them",
        "phần chữ ngoài tệp đính kèm vượt {XML_KEPT_BYTES_MAX} byte; nơi gửi phải rút ngắn.";
    /// The whole packet is too large.
    PacketTooLong, "packet-too-long",
        "the packet exceeds {PACKET_BYTES_MAX} bytes; the sender must split it",
        "gói tin vượt {PACKET_BYTES_MAX} byte; nơi gửi phải tách nhỏ.";
    /// The end came while elements were open.
    Unclosed { element: String = "The innermost open element." }, "unclosed",
        "the packet ends inside {element}: its end was cut off; the sender must send the whole file again",
        "gói tin kết thúc khi {element} chưa đóng, phần cuối đã bị cắt; nơi gửi phải gửi lại cả tệp.";
    /// Something before the root element or the declaration.
    Leading, "leading",
        "something other than comments stands before the root element; the sending system must remove it",
        "trước phần tử gốc có nội dung lạ; hệ thống gửi phải bỏ đi.";
    /// Something after the root element.
    Trailing, "trailing",
        "something other than white space stands after the root element; the sending system must remove it",
        "sau phần tử gốc có nội dung lạ; hệ thống gửi phải bỏ đi.";
    /// Not UTF-8 (or not the UTF-16 its byte order mark announces).
    Utf8, "utf8",
        "these bytes are not UTF-8; the sending system must write UTF-8",
        "các byte này không phải UTF-8; hệ thống gửi phải ghi bằng UTF-8.";
    /// The declaration names another encoding.
    Encoding { declared: String = "The name declared." }, "encoding",
        "the packet declares the encoding {declared}; the sending system must write UTF-8",
        "gói tin khai báo bảng mã {declared}; hệ thống gửi phải ghi bằng UTF-8.";
    /// A character XML 1.0 forbids.
    ControlCharacter { code: u32 = "Its number." }, "control-character",
        "character number {code} is not allowed in XML 1.0; the sending system must remove it",
        "ký tự số {code} không được phép trong XML 1.0; hệ thống gửi phải bỏ đi.";
    /// Not well-formed.
    Malformed { reason: String = "What the parser said." }, "malformed",
        "this is not well-formed XML ({reason}); the sending system must correct it",
        "XML sai cú pháp ({reason}); hệ thống gửi phải sửa.";
    /// Nothing there.
    Empty, "empty",
        "there is no element at all; the sender must send the packet again",
        "không có phần tử nào; nơi gửi phải gửi lại gói tin.";
    /// No edXMLEnvelope below the root.
    NoEnvelope, "no-envelope",
        "no edXMLEnvelope stands below the root: this is not an edXML packet; the sender must check the file",
        "dưới phần tử gốc không có edXMLEnvelope, đây không phải gói tin edXML; nơi gửi phải kiểm tra tệp.";
    /// No edXMLHeader with a MessageHeader.
    NoHeader, "no-header",
        "the envelope has no edXMLHeader with a MessageHeader; the sending system must write one",
        "phong bì không có edXMLHeader với MessageHeader; hệ thống gửi phải ghi đủ.";
    /// Two envelopes or headers: readers would disagree on which counts.
    DuplicateHeader { element: String = "Which element." }, "duplicate-header",
        "{element} stands there twice and systems would disagree on which counts; the sending system must write one",
        "{element} xuất hiện hai lần, các hệ thống sẽ hiểu khác nhau; hệ thống gửi chỉ được ghi một.";
    /// An attachment nobody can name.
    UnnamedAttachment { number: usize = "Which attachment, from 1." }, "unnamed-attachment",
        "attachment {number} has no AttachmentName; the sending system must write it",
        "tệp đính kèm thứ {number} không có AttachmentName; hệ thống gửi phải ghi tên.";
    /// An attachment without content.
    NoContent { number: usize = "Which attachment, from 1." }, "no-content",
        "attachment {number} has no ContentTransferEncoded; the sender must send the packet with its files",
        "tệp đính kèm thứ {number} không có ContentTransferEncoded; nơi gửi phải gửi kèm nội dung tệp.";
    /// An attachment with two contents.
    SecondContent { number: usize = "Which attachment, from 1." }, "second-content",
        "attachment {number} has two ContentTransferEncoded; the sending system must write one",
        "tệp đính kèm thứ {number} có hai ContentTransferEncoded; hệ thống gửi chỉ được ghi một.";
    /// An element inside base64.
    ElementInContent { number: usize = "Which attachment, from 1." }, "element-in-content",
        "an element stands inside the content of attachment {number}; the sending system must write base64 only",
        "có phần tử nằm trong nội dung tệp đính kèm thứ {number}; hệ thống gửi chỉ được ghi base64.";
    /// The manifest lists a file that is not there.
    MissingAttachment { name: String = "Its name or id." }, "missing-attachment",
        "the manifest lists {name}, which the packet does not carry; the sender must send the packet with all its files",
        "bảng kê có {name} nhưng gói tin không kèm tệp đó; nơi gửi phải gửi lại đủ tệp.";
    /// More letters after the padding.
    Base64AfterPadding { number: usize = "Which attachment, from 1." }, "base64-after-padding",
        "the base64 of attachment {number} goes on after its padding; the sending system must encode the file as one piece",
        "base64 của tệp đính kèm thứ {number} còn tiếp sau ký tự đệm; hệ thống gửi phải mã hóa cả tệp một lần.";
    /// A letter is left over.
    Base64Truncated { number: usize = "Which attachment, from 1." }, "base64-truncated",
        "the base64 of attachment {number} is cut off; the sender must send it again",
        "base64 của tệp đính kèm thứ {number} bị cắt; nơi gửi phải gửi lại.";
    /// The attachment is too large when decoded.
    AttachmentTooLong { number: usize = "Which attachment, from 1." }, "attachment-too-long",
        "attachment {number} exceeds {ATTACHMENT_BYTES_MAX} bytes; the sender must split it",
        "tệp đính kèm thứ {number} vượt {ATTACHMENT_BYTES_MAX} byte; nơi gửi phải tách nhỏ.";
    /// Path characters where clients' software builds a file name.
    UnsafeName { number: usize = "Which attachment, from 1." }, "unsafe-name",
        "the extension, Format or ZIP entry of attachment {number} holds path or control characters or exceeds {EXTENSION_BYTES_MAX} bytes; the sender must rename the file",
        "phần mở rộng, Format hoặc tên trong ZIP của tệp đính kèm thứ {number} có ký tự đường dẫn, ký tự điều khiển hoặc dài quá {EXTENSION_BYTES_MAX} byte; nơi gửi phải đổi tên tệp.";
    /// Name or type came after the content and change how it must be read.
    LateMetadata { number: usize = "Which attachment, from 1." }, "late-metadata",
        "attachment {number} names its type after a zipped content that would have been read differently; the sending system must write AttachmentName and ContentType first",
        "tệp đính kèm thứ {number} ghi tên, kiểu sau nội dung nén nên không thể đọc đúng; hệ thống gửi phải ghi AttachmentName và ContentType trước.";
    /// A wrapping ZIP that is hostile or broken.
    Zip { number: usize = "Which attachment, from 1.", defect: ZipDefect = "What is wrong with the ZIP." }, "zip",
        "the ZIP that wraps attachment {number} {defect}; the sending system must wrap one file under a plain name",
        "tệp ZIP bọc tệp đính kèm thứ {number} không hợp lệ ({defect}); hệ thống gửi phải nén đúng một tệp, tên không có đường dẫn.";
}

/// What is wrong with a ZIP that wraps an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ZipDefect {
    /// `..`, a slash, a drive or a control character in the entry's name: an existing client deletes that path's parent.
    #[error("names its entry with a path")]
    Path,
    /// More than one entry.
    #[error("holds several entries")]
    SeveralEntries,
    /// No entry.
    #[error("holds no entry")]
    NoEntry,
    /// Encrypted.
    #[error("is encrypted")]
    Encrypted,
    /// Neither stored nor DEFLATE, or stored without a size.
    #[error("uses a method other than DEFLATE or plain storage")]
    Method,
    /// Grows beyond the bounds.
    #[error("grows too much when unzipped")]
    Bomb,
    /// Ends early.
    #[error("is cut off")]
    Truncated,
    /// Its parts contradict each other, or something follows it.
    #[error("is damaged: its sizes, checksum, names or directory do not fit together")]
    Damaged,
}

impl Defect {
    /// The key; for ZIPs with the particular defect behind a slash.
    #[must_use]
    pub fn full_key(&self) -> String {
        match self {
            Self::Zip { defect, .. } => {
                let detail = match defect {
                    ZipDefect::Path => "path",
                    ZipDefect::SeveralEntries => "several-entries",
                    ZipDefect::NoEntry => "no-entry",
                    ZipDefect::Encrypted => "encrypted",
                    ZipDefect::Method => "method",
                    ZipDefect::Bomb => "bomb",
                    ZipDefect::Truncated => "truncated",
                    ZipDefect::Damaged => "damaged",
                };
                format!("zip/{detail}")
            }
            other => other.key().to_owned(),
        }
    }
}
