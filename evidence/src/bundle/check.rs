//! The named checks of a bundle, beside those of each receipt in it.

use crate::verify::check::checks;

checks! {
    /// One thing that must hold of a bundle.
    BundleCheck;
    /// A whole container of our profile with `bundle.json`, and nothing in it that its signature does not cover.
    Form = "bundle-form",
        en: "the file is a bundle, and nothing in it was changed since it was signed",
        vi: "tệp là bộ chứng cứ, không thành phần nào bị sửa sau khi ký",
        fix_en: "The file is damaged, was changed, or is no bundle; ask its holder for the original.",
        fix_vi: "Tệp hỏng, đã bị sửa hoặc không phải bộ chứng cứ; đề nghị nơi giữ cung cấp bản gốc.";
    /// The signature holds over the manifest.
    Signature = "bundle-signature",
        en: "the signature of who put it together holds", vi: "chữ ký của bên lập bộ chứng cứ đúng",
        fix_en: "The signature does not belong to this bundle: entries may have been left out or put in; ask for the original.",
        fix_vi: "Chữ ký không thuộc bộ chứng cứ này: có thể đã bị bớt hoặc thêm thành phần; đề nghị cung cấp bản gốc.";
    /// The signer's certificate leads to a trusted authority, may sign, and was not revoked when it signed.
    Signer = "bundle-signer",
        en: "the signer's certificate leads to a trusted authority", vi: "chứng thư của bên lập dẫn tới cơ quan chứng thực tin cậy",
        fix_en: "Nobody among the trust files vouches for who put the bundle together. Check first that these are the right files of this axis; else rely on the receipts in it alone, one by one.",
        fix_vi: "Không cơ quan chứng thực nào trong tệp tin cậy bảo đảm cho bên lập. Trước hết kiểm tra đã đưa đúng tệp tin cậy của trục này; nếu đúng, chỉ dựa vào từng biên nhận trong đó.";
    /// What `bundle.json` says of who made it and when is what its signature shows.
    Maker = "bundle-maker",
        en: "who is said to have put it together, and when, is who signed, and when",
        vi: "bên lập và lúc lập tự nêu đúng với chữ ký",
        fix_en: "It names another maker or another time than its signature shows: believe neither. The receipts in it stand by themselves.",
        fix_vi: "Bên lập hoặc lúc lập tự nêu khác với chữ ký: không tin lời nêu đó. Các biên nhận trong đó tự có giá trị.";
    /// Every receipt is about the envelope, sender, axis and lane that `bundle.json` names, and they agree on what the envelope is.
    OneDocument = "bundle-one-document",
        en: "every receipt is about the same document", vi: "mọi biên nhận đều về cùng một văn bản",
        fix_en: "Receipts of another document were put among these, or the sender made two documents under one number; ask the sender which one it sent, and each holder for its own receipts.",
        fix_vi: "Có biên nhận của văn bản khác lẫn vào, hoặc bên gửi lập hai văn bản cùng một mã gói tin; hãy hỏi bên gửi đã gửi văn bản nào và yêu cầu từng bên giữ cung cấp biên nhận của mình.";
    /// No ledger shows two histories.
    NoFork = "bundle-no-fork",
        en: "no ledger shows two histories", vi: "không sổ cái nào cho thấy hai lịch sử khác nhau",
        fix_en: "A party showed two histories of one ledger: it cannot deny what it signed, and nothing it states is to be believed in its own favour; give both receipts to the axis operator.",
        fix_vi: "Một bên đưa ra hai lịch sử của cùng một sổ cái: bên đó không thể chối điều đã ký, nhưng không tin lời nào có lợi cho chính bên đó; hãy gửi cả hai biên nhận cho đơn vị vận hành trục.";
    /// No later version of the directory in it says that a certificate was revoked by which another receipt in it is signed.
    NoneStopped = "bundle-none-stopped",
        en: "no later directory in it names a certificate that signed as revoked",
        vi: "không danh bạ nào mới hơn trong đó nêu chứng thư đã ký bị thu hồi",
        fix_en: "A newer directory in the same bundle shows that a signing certificate had been revoked or suspended: the receipts named are not proven; ask their maker.",
        fix_vi: "Danh bạ mới hơn ngay trong bộ chứng cứ cho thấy chứng thư ký đã bị thu hồi hoặc tạm dừng: các biên nhận được nêu chưa được chứng minh; hãy hỏi bên lập chúng.";
    /// Each receipt in it is valid by itself.
    Receipts = "bundle-receipts",
        en: "each receipt in it is valid", vi: "từng biên nhận trong đó đều hợp lệ",
        fix_en: "See the receipts that are not, or of which it cannot be told yet: what they say is not proven.",
        fix_vi: "Xem các biên nhận không hợp lệ hoặc chưa kết luận được: điều chúng nêu chưa được chứng minh.";
    /// Each business status in it is valid by itself.
    Statuses = "bundle-statuses",
        en: "each business status in it is valid", vi: "từng trạng thái xử lý trong đó đều hợp lệ",
        fix_en: "See the statuses that are not, or of which it cannot be told yet: what they say is not proven.",
        fix_vi: "Xem các trạng thái không hợp lệ hoặc chưa kết luận được: điều chúng nêu chưa được chứng minh.";
}
