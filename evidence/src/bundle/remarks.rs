//! What is strange in what receipts prove, and whom to ask about it (docs/FORMATS.md, "What a bundle proves").

/// What is strange about an event, or about a business status.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum StepRemark {
    /// A step before it names a later time.
    OutOfOrder,
    /// It was signed, or is proven to have been there, only long after.
    ProvenLate,
    /// A status that the other side of the document sets.
    WrongSide,
    /// A status that rests on a ledger with two histories.
    TwoHistories,
}

impl StepRemark {
    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfOrder => "out-of-order",
            Self::ProvenLate => "proven-late",
            Self::WrongSide => "wrong-side",
            Self::TwoHistories => "two-histories",
        }
    }

    /// What it means and what to do, in English.
    #[must_use]
    pub const fn english(self) -> &'static str {
        match self {
            Self::OutOfOrder => {
                "this time lies before that of the step before it: a clock was wrong, or the time is not true; ask who states it"
            }
            Self::ProvenLate => {
                "signed, or proven to have been there, only long after the time it names; do not rely on that time alone"
            }
            Self::WrongSide => {
                "this status is for the other side of the document to set: it is what that agency said, and changes nothing"
            }
            Self::TwoHistories => {
                "a ledger that it rests on shows two histories: who signed it cannot deny it, and is not to be believed in its own favour"
            }
        }
    }

    /// What it means and what to do, in Vietnamese.
    #[must_use]
    pub const fn vietnamese(self) -> &'static str {
        match self {
            Self::OutOfOrder => {
                "giờ này sớm hơn giờ của bước trước đó: có đồng hồ sai hoặc giờ nêu không đúng; hỏi lại bên nêu"
            }
            Self::ProvenLate => {
                "chỉ được ký, hoặc chỉ chứng minh được là đã có, muộn hơn nhiều so với giờ tự nêu; không dựa riêng vào giờ đó"
            }
            Self::WrongSide => {
                "trạng thái này do bên kia của văn bản đặt: cơ quan đó có nêu như vậy, nhưng không làm thay đổi gì"
            }
            Self::TwoHistories => {
                "sổ cái làm căn cứ cho thấy hai lịch sử: bên ký không thể chối, nhưng không tin lời nào có lợi cho chính bên đó"
            }
        }
    }
}

/// What does not go together in what is proven about a recipient.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Remark {
    /// No word of the sender is among it.
    NoSubmission,
    /// The sender stated two submissions under this number.
    TwoSubmissions,
    /// The submission is not for the agency that states that it got it.
    NotAddressed,
    /// The recipient's own word is about another content than was sent to it, or about several.
    OtherContent,
    /// Who states some of it keeps a ledger with two histories.
    TwoHistories,
    /// The relay refused what the recipient states that it has.
    RelayDenies,
    /// It came after the relay had given it up.
    DeliveredLate,
    /// The recipient states that it could open it, and that it could not.
    OpenedAndNot,
    /// The recipient's document system took it, and refused it later.
    TookAndRefused,
}

impl Remark {
    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSubmission => "no-submission",
            Self::TwoSubmissions => "two-submissions",
            Self::NotAddressed => "not-addressed",
            Self::OtherContent => "other-content",
            Self::TwoHistories => "two-histories",
            Self::RelayDenies => "relay-denies",
            Self::DeliveredLate => "delivered-late",
            Self::OpenedAndNot => "opened-and-not",
            Self::TookAndRefused => "took-and-refused",
        }
    }

    /// What it means and what to do, in English.
    #[must_use]
    pub const fn english(self) -> &'static str {
        match self {
            Self::NoSubmission => {
                "There is no receipt of the sender here: that it sent this is the word of others; where that matters, ask the sender"
            }
            Self::TwoSubmissions => {
                "The sender stated two submissions under this number; told here is the one that the recipient's own word names, else one that others know of: ask the sender which one it sent"
            }
            Self::OtherContent => {
                "The recipient's own word names another content than was sent to it under this number, or more than one: ask the recipient and the sender"
            }
            Self::NotAddressed => {
                "The sender's submission does not name this agency: that it got the document is its own word; ask the sender"
            }
            Self::TwoHistories => {
                "Somebody who states this keeps a ledger that shows two histories: it cannot deny what it signed, and nothing it states is to be believed in its own favour; tell the axis operator"
            }
            Self::RelayDenies => {
                "The relay states that it refused this, the recipient's own signed word that it has it: the recipient's word counts; ask both why they differ"
            }
            Self::DeliveredLate => {
                "The relay states that it was not delivered in time, the recipient's own signed word that it has it: it came, and late"
            }
            Self::OpenedAndNot => {
                "The recipient states both that it opened the document and that it could not: ask the recipient which holds"
            }
            Self::TookAndRefused => {
                "The recipient states that its document system took it, and later that it refused it: ask the recipient which holds"
            }
        }
    }

    /// What it means and what to do, in Vietnamese.
    #[must_use]
    pub const fn vietnamese(self) -> &'static str {
        match self {
            Self::NoSubmission => {
                "Ở đây không có biên nhận của bên gửi: việc bên đó đã gửi chỉ là lời của bên khác; khi cần hãy hỏi bên gửi"
            }
            Self::TwoSubmissions => {
                "Bên gửi đã nêu hai lần gửi dưới cùng mã gói tin; ở đây tính theo lần mà lời của chính nơi nhận chỉ tới, nếu không có thì lần mà bên khác biết đến: hãy hỏi bên gửi đã gửi lần nào"
            }
            Self::OtherContent => {
                "Lời của chính nơi nhận nói về nội dung khác với nội dung đã gửi cho nơi đó dưới cùng mã gói tin, hoặc về nhiều nội dung: hãy hỏi nơi nhận và bên gửi"
            }
            Self::NotAddressed => {
                "Lần gửi của bên gửi không ghi cơ quan này là nơi nhận: việc đã nhận chỉ là lời của chính cơ quan đó; hãy hỏi bên gửi"
            }
            Self::TwoHistories => {
                "Có bên nêu điều này giữ sổ cái cho thấy hai lịch sử: bên đó không thể chối điều đã ký, nhưng không tin lời nào có lợi cho chính bên đó; hãy báo đơn vị vận hành trục"
            }
            Self::RelayDenies => {
                "Trục nêu đã từ chối gói tin, còn chính nơi nhận ký xác nhận đã nhận: tính theo lời nơi nhận; hãy hỏi cả hai bên vì sao khác nhau"
            }
            Self::DeliveredLate => {
                "Trục nêu không chuyển tới trong thời hạn, còn chính nơi nhận ký xác nhận đã nhận: văn bản có đến, nhưng muộn"
            }
            Self::OpenedAndNot => {
                "Nơi nhận vừa nêu đã mở được vừa nêu không mở được văn bản: hãy hỏi nơi nhận lời nào đúng"
            }
            Self::TookAndRefused => {
                "Nơi nhận nêu hệ thống quản lý văn bản đã tiếp nhận, sau đó lại nêu hệ thống từ chối: hãy hỏi nơi nhận lời nào đúng"
            }
        }
    }
}
