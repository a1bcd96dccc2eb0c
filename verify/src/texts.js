// All that the page says, in Vietnamese and English. Texts hold `{names}` that are filled in; what fills them is put into the page as text, never as HTML.

export const LANGUAGES = ['vi', 'en'];

export const PAGE = {
  vi: {
    title: 'Kiểm tra biên nhận văn bản điện tử',
    intro: 'Trang này tự kiểm tra biên nhận và bộ chứng cứ ngay trên máy này, không gửi gì đi đâu và không nhớ gì. Có thể tắt mạng khi dùng.',
    language: 'Ngôn ngữ',
    drop: 'Kéo thả mọi tệp vào đây: biên nhận hoặc bộ chứng cứ, chứng thư, văn bản',
    'drop-hint': 'hoặc chọn từng loại bên dưới',
    receipts: 'Biên nhận hoặc bộ chứng cứ',
    'receipts-hint': 'tệp *.receipt hoặc bộ chứng cứ *.zip, một hay nhiều tệp',
    anchors: 'Gốc tin cậy',
    'anchors-hint': 'chứng thư gốc (và trung gian) của cơ quan chứng thực, PEM hoặc DER',
    operator: 'Chứng thư đơn vị vận hành trục',
    'operator-hint': 'do đơn vị vận hành công bố, PEM hoặc DER',
    document: 'Văn bản (nếu có)',
    'document-hint': 'tệp văn bản, tệp đính kèm, gói edXML đúng như bên gửi đã gửi, hoặc cả gói (.asice): để chứng tỏ đúng văn bản này',
    lists: 'Danh sách thu hồi, trả lời OCSP (nếu có)',
    'lists-hint': 'CRL (PEM hoặc DER), trả lời OCSP (DER)',
    policy: 'Chính sách chứng kiến (nếu có)',
    'policy-hint': 'tệp văn bản cho biết tin vào bên chứng kiến nào và cần bao nhiêu bên (C2SP tlog-policy)',
    at: 'Kiểm tra tính đến thời điểm',
    'at-hint': 'để trống: bây giờ. Giờ của máy này.',
    choose: 'Chọn tệp',
    clear: 'Bỏ hết các tệp',
    print: 'In kết quả',
    none: 'chưa có',
    more: 'Tùy chọn khác',
    result: 'Kết quả',
    waiting: 'Chưa kiểm tra được. Còn thiếu: {missing}.',
    working: 'Đang kiểm tra…',
    progress: 'Đang kiểm tra… {count} biên nhận',
    count: '{valid} trong {all} tệp có giá trị',
    'no-crypto': 'Trình duyệt không cho trang này dùng mật mã vì trang được tải qua HTTP từ máy khác. Hãy lưu trang vào máy rồi mở tệp đã lưu.',
    'no-script': 'Trang này cần JavaScript để kiểm tra. Hãy bật JavaScript, hoặc dùng lệnh truc receipt verify.',
    'too-many': 'Chỉ kiểm tra {max} tệp mỗi lần; các tệp còn lại bị bỏ qua.',
    'two-histories': 'HAI LỊCH SỬ của cùng một sổ cái: từng biên nhận tự đúng, cùng nhau thì tố cáo bên giữ sổ cái. Bên đó không thể chối điều đã ký, nhưng không tin lời nào có lợi cho chính bên đó; giữ cả hai và gửi đơn vị vận hành trục.',
    'stopped-before': 'DANH BẠ MỚI HƠN đưa kèm nêu chứng thư của biên nhận này bị thu hồi hoặc tạm dừng từ {since}: biên nhận không có giá trị.',
    'stopped-later': 'DANH BẠ MỚI HƠN đưa kèm nêu chứng thư của biên nhận này bị thu hồi hoặc tạm dừng từ {since}: chưa rõ đã ký trước đó hay không.',
    disagreeing: 'KHÔNG CÙNG MỘT VĂN BẢN dưới cùng một mã gói tin; hãy hỏi bên gửi đã gửi văn bản nào.',
    steps: 'Từng bước kiểm tra ({passed} đạt, {against} không đạt hoặc chưa rõ, {other} không áp dụng)',
    trusted: 'Đã tin vào',
    'trusted-hint': 'Kết luận chỉ đúng khi các chứng thư này đúng là của cơ quan chứng thực và đơn vị vận hành. Hãy so dấu vân tay SHA-256 với bản công bố.',
    footer: 'Bộ kiểm tra thứ hai, độc lập với phần mềm truc; viết theo docs/FORMATS.md.',
    checked: 'Kiểm tra lúc {now}, tính đến {at} (giờ Việt Nam)',
    broken: 'Không kiểm tra được: một tệp không đọc được, hoặc trang này có lỗi. {why}',
    'bad-trust': 'Không dùng được các tệp tin cậy: {why}',
  },
  en: {
    title: 'Check a receipt of an electronic document',
    intro: 'This page checks receipts and bundles of them on this machine by itself. It sends nothing anywhere and remembers nothing. You may switch the network off.',
    language: 'Language',
    drop: 'Drop all files here: receipts or bundles, certificates, the document',
    'drop-hint': 'or choose each kind below',
    receipts: 'Receipts or bundles',
    'receipts-hint': '*.receipt files or *.zip bundles, one or several',
    anchors: 'Trust anchors',
    'anchors-hint': 'root (and intermediate) certificates of the authority, PEM or DER',
    operator: "The axis operator's certificate",
    'operator-hint': 'as the operator publishes it, PEM or DER',
    document: 'The document (if at hand)',
    'document-hint': 'the document, an attachment, the edXML packet as its sender sent it, or the whole container (.asice): shows that it is this very document',
    lists: 'Revocation lists, OCSP answers (if at hand)',
    'lists-hint': 'CRLs (PEM or DER), OCSP answers (DER)',
    policy: 'Witness policy (if at hand)',
    'policy-hint': 'a text file that says which witnesses count and how many are wanted (C2SP tlog-policy)',
    at: 'Check as of',
    'at-hint': "empty: now. This machine's time zone.",
    choose: 'Choose files',
    clear: 'Remove all files',
    print: 'Print the result',
    none: 'none yet',
    more: 'More options',
    result: 'Result',
    waiting: 'Nothing can be checked yet. Still missing: {missing}.',
    working: 'Checking…',
    progress: 'Checking… {count} receipts',
    count: '{valid} of {all} files are valid',
    'no-crypto': 'The browser does not let this page use cryptography, because it came over plain HTTP from another machine. Save the page and open the saved file.',
    'no-script': 'This page needs JavaScript. Switch it on, or use the command truc receipt verify.',
    'too-many': 'Only {max} files are checked at a time; the other files are left out.',
    'two-histories': 'TWO HISTORIES of one ledger: each receipt is right by itself, together they accuse who keeps the ledger. It cannot deny what it signed, and nothing it states is to be believed in its own favour; keep both and give them to the axis operator.',
    'stopped-before': 'A LATER DIRECTORY given with it names the certificate of this receipt as revoked or suspended since {since}: it proves nothing.',
    'stopped-later': 'A LATER DIRECTORY given with it names the certificate of this receipt as revoked or suspended since {since}: it cannot be told whether it was signed before.',
    disagreeing: 'NOT ABOUT ONE THING, under one number; ask the sender which one it sent.',
    steps: 'Every step ({passed} passed, {against} failed or cannot be told, {other} not applicable)',
    trusted: 'Trusted were',
    'trusted-hint': 'The verdict is right only if these certificates are those of the authority and the operator. Compare the SHA-256 fingerprints with the published ones.',
    footer: 'A second verifier, independent of the software truc; written from docs/FORMATS.md.',
    checked: "Checked {now}, as of {at} (Vietnam's time)",
    broken: 'Nothing could be checked: a file cannot be read, or this page has a defect. {why}',
    'bad-trust': 'The trust files cannot be used: {why}',
  },
};

export const TRUST_FAULTS = {
  'no-anchor': { vi: 'không có chứng thư gốc nào; hãy đưa chứng thư gốc của cơ quan chứng thực.', en: 'there is no root certificate; give the root certificate of the authority.' },
  'no-authority': { vi: 'có chứng thư tự ký không phải của cơ quan chứng thực.', en: 'a self-issued certificate among them is not that of an authority.' },
  'no-operator': {
    vi: 'tệp của đơn vị vận hành không có chứng thư của đơn vị vận hành (chỉ có chứng thư của cơ quan chứng thực hoặc không có gì).',
    en: "the operator's file holds no certificate of an operator (authorities alone, or nothing).",
  },
  'bad-policy': { vi: 'chính sách chứng kiến không đúng định dạng; hãy hỏi nơi cung cấp.', en: 'the witness policy is not well-formed; ask whoever gave it to you.' },
  'too-many': { vi: 'quá nhiều tệp.', en: 'there are too many.' },
  unreadable: { vi: 'một tệp không đọc được như chứng thư hoặc danh sách thu hồi; hãy kiểm tra đúng tệp.', en: 'a file cannot be read as a certificate or revocation list; check that it is the right file.' },
};

export const VERDICTS = {
  valid: { vi: 'CÓ GIÁ TRỊ', en: 'VALID', mark: '✔' },
  invalid: { vi: 'KHÔNG CÓ GIÁ TRỊ', en: 'INVALID', mark: '✘' },
  'cannot-tell': { vi: 'CHƯA THỂ KẾT LUẬN', en: 'CANNOT TELL', mark: '?' },
};

export const OUTCOMES = {
  passed: { vi: 'đạt', en: 'passed', mark: '✔' },
  failed: { vi: 'không đạt', en: 'failed', mark: '✘' },
  unknown: { vi: 'chưa rõ', en: 'cannot be told', mark: '?' },
  'not-applicable': { vi: 'không áp dụng', en: 'not applicable', mark: '–' },
  'not-reached': { vi: 'không kiểm tra được', en: 'not reached', mark: '?' },
};

/** What a verdict means, in a sentence or two. By event, with the role where it matters. */
export const MEANINGS = {
  SubmissionAcceptance: {
    vi: '{actor} nêu đã ký, niêm phong và gửi văn bản cho {recipients} lúc {time}, và không thể chối lời nêu đó. Việc văn bản đã rời bên gửi cần biên nhận của trục hoặc của nơi nhận.',
    en: '{actor} states that it signed, sealed and sent the document to {recipients} on {time}, and cannot deny that. That it left takes a receipt of the relay or of a recipient.',
  },
  SubmissionRejection: {
    vi: '{actor} muốn gửi văn bản nhưng nút của cơ quan đã từ chối lúc {time}; văn bản chưa được gửi. Lý do: {reason}',
    en: "{actor} asked to send a document, and its node refused on {time}; nothing was sent. Reason: {reason}",
  },
  'RelayAcceptance relay': {
    vi: 'Máy chuyển tiếp {node} đã nhận gói tin niêm phong của {sender} lúc {time} và không thể chối là đã nhận. Chưa nói gì về việc nơi nhận đã mở văn bản.',
    en: 'The relay {node} took the sealed envelope of {sender} on {time} and cannot deny it. It says nothing about the recipients having opened it.',
  },
  'RelayAcceptance recipient': {
    vi: '{actor} đã nhận gói tin niêm phong của {sender} lúc {time} và không thể chối là đã nhận gói tin. Chưa nói gì về việc đã mở văn bản.',
    en: '{actor} took the sealed envelope of {sender} on {time} and cannot deny it. It says nothing about having opened it.',
  },
  RelayRejection: {
    vi: 'Máy chuyển tiếp {node} đã từ chối gói tin của {sender} lúc {time}. Lý do: {reason}',
    en: 'The relay {node} refused the envelope of {sender} on {time}. Reason: {reason}',
  },
  RelayFailure: {
    vi: 'Máy chuyển tiếp {node} xác nhận lúc {time} rằng không giao được gói tin của {sender} cho {recipient}. Lý do: {reason}',
    en: 'The relay {node} states on {time} that the envelope of {sender} was not delivered to {recipient}. Reason: {reason}',
  },
  ContentConsignment: {
    vi: '{actor} đã nhận, mở và kiểm tra văn bản nêu là của {sender}, lúc {time}. Cơ quan này không thể chối là đã nhận văn bản.',
    en: '{actor} received, opened and checked a document that it names as of {sender}, on {time}. That agency cannot deny having received it.',
  },
  ContentConsignmentFailure: {
    vi: '{actor} đã nhận gói tin của {sender} nhưng không mở được hoặc không tiếp nhận nội dung, lúc {time}. Lý do: {reason}',
    en: '{actor} got the envelope of {sender} and could not open it or did not accept its content, on {time}. Reason: {reason}',
  },
  ContentHandover: {
    vi: 'Hệ thống quản lý văn bản của {actor} đã tiếp nhận văn bản nêu là của {sender}, lúc {time}. Cơ quan này không thể chối là đã nhận văn bản.',
    en: 'The document system of {actor} took a document that it names as of {sender}, on {time}. That agency cannot deny having received it.',
  },
  ContentHandoverFailure: {
    vi: 'Hệ thống quản lý văn bản của {actor} không tiếp nhận văn bản nêu là của {sender}, lúc {time}. Lý do: {reason}',
    en: 'The document system of {actor} did not take a document that it names as of {sender}, on {time}. Reason: {reason}',
  },
  RelayToNonERDS: {
    vi: '{actor} đã chuyển văn bản cho {recipient} sang trục hiện hành lúc {time} và không thể chối việc chuyển đó. Từ điểm này văn bản không được niêm phong, không có giấy báo nhận ký số.',
    en: "{actor} passed the document for {recipient} on to today's axis on {time} and cannot deny that. Beyond this point it is not sealed and there is no signed receipt.",
  },
  ReceivedFromNonERDS: {
    vi: '{actor} đã nhận văn bản của {sender} từ trục hiện hành lúc {time} và không thể chối là đã nhận. Trước điểm này văn bản không được niêm phong, không có giấy báo nhận ký số.',
    en: "{actor} got the document of {sender} from today's axis on {time} and cannot deny that. Before this point it was not sealed and there is no signed receipt.",
  },
};

export const SENTENCES = {
  vi: {
    invalid: 'Tệp này không chứng minh được gì. {why}',
    'cannot-tell': 'Không có bước nào sai, nhưng chưa đủ căn cứ để kết luận. {why}',
    'other-document': 'Biên nhận này không nói về văn bản đưa ra ({document}). Mọi bước khác đều đạt: bỏ văn bản đó ra để xem biên nhận chứng minh điều gì.',
    shown: 'Văn bản đưa ra ({document}) đúng là văn bản đó hoặc một phần của nó.',
    'senders-word': 'Việc {sender} đã gửi chỉ được nêu ở đây bởi bên khác: chỉ biên nhận SubmissionAcceptance của chính {sender} chứng minh được.',
    'wrong-trust': 'Mọi biên nhận trong đó đều không khớp với các tệp tin cậy đã đưa: rất có thể đã chọn nhầm chứng thư gốc hoặc chứng thư đơn vị vận hành. Hãy đưa đúng tệp của trục này rồi kiểm tra lại.',
    'not-shown': 'Để chứng tỏ đó là văn bản nào, hãy đưa thêm tệp văn bản.',
    claims: 'Tệp tự ghi như sau (chưa được chứng minh)',
    facts: 'Nội dung biên nhận',
    event: 'Sự kiện',
    actor: 'Bên lập',
    time: 'Thời điểm',
    envelope: 'Gói tin',
    sender: 'Bên gửi',
    recipient: 'Bên nhận',
    signedAt: 'Chứng thư số ký lúc',
    provenBy: 'Bằng chứng về thời điểm',
    domain: 'Trục, luồng',
    directory: 'Danh bạ',
    levels: 'Căn cứ',
    leaf: 'Mã băm sự kiện',
    file: 'SHA-256 của tệp',
    unnamed: 'các nơi nhận',
    version: 'bản {version}, phát hành {issued}; chứng thư được coi là còn hiệu lực tính đến lúc đó, trừ khi có danh sách thu hồi',
    technical: 'chi tiết',
    bundle: 'Bộ chứng cứ nguyên vẹn, {count} biên nhận trong đó đều có giá trị. Dưới đây là điều đã được chứng minh cho từng nơi nhận.',
    'bundle-invalid': 'Bộ chứng cứ này không dùng được nguyên trạng. {why}',
    'bundle-other-document': 'Bộ chứng cứ này không nói về văn bản đưa ra ({document}). Mọi bước khác đều đạt: bỏ văn bản đó ra để xem bộ chứng cứ chứng minh điều gì.',
    'bundle-document': 'Văn bản đưa ra đúng với {proven} trong {all} biên nhận.',
    'bundle-about': 'Bộ chứng cứ',
    recipients: 'Từng nơi nhận',
    'recipients-alone': 'Từng nơi nhận, chỉ theo các biên nhận tự chúng có giá trị',
    'no-recipients': 'Chưa kết luận được cho nơi nhận nào: không có biên nhận nào vừa có giá trị vừa được tính; xem các bước kiểm tra.',
    by: 'Bên lập',
    'by-own-word': 'Bên lập (tự nêu)',
    'by-node': 'Nút lập (tự nêu)',
    'signed-then': 'ký lúc {time} theo cùng đồng hồ',
    'proven-then': 'dấu thời gian chứng tỏ đã có trước {time}',
    'not-stamped': 'không có dấu thời gian độc lập',
    made: 'Lập lúc',
    signer: 'Chứng thư ký',
    signed: 'Ký lúc',
    others: 'Chữ ký còn bao trùm (chỉ là lời của bên lập)',
    bytes: '{count} byte',
    more: '… và {count} tệp nữa',
    'in-it': 'Biên nhận trong đó ({count})',
    'statuses-in-it': 'Trạng thái xử lý trong đó ({count})',
    'status-title': 'Trạng thái {code}: {name}',
    'status-from': '{from} báo {to}',
    'status-staff': 'Người xử lý: {staff}',
    'status-stated': 'được nêu lúc {time}',
    'status-received': 'đến {to} lúc {time}',
    'left-out': 'Trạng thái không kèm theo',
    successor: 'mã kế thừa {code}',
  },
  en: {
    invalid: 'This file proves nothing. {why}',
    'cannot-tell': 'No step is wrong, and there is not enough to decide. {why}',
    'other-document': 'This receipt is not about the document shown ({document}). Every other step holds: take the document away to see what the receipt proves.',
    shown: 'The document shown ({document}) is that document or part of it.',
    'senders-word': 'That {sender} sent it is said here by another: only the SubmissionAcceptance of {sender} itself proves it.',
    'wrong-trust': 'No receipt in it fits the trust files given: very likely the wrong root or the wrong operator certificate was chosen. Give those of this axis and check again.',
    'not-shown': 'To show which document it is, give the document, too.',
    claims: 'What the file says of itself (not proven)',
    facts: 'What the receipt says',
    event: 'Event',
    actor: 'Stated by',
    time: 'Time',
    envelope: 'Envelope',
    sender: 'Sender',
    recipient: 'Recipient',
    signedAt: 'Signed by certificate',
    provenBy: 'Proof of time',
    domain: 'Axis, lane',
    directory: 'Directory',
    levels: 'Rests on',
    leaf: 'Hash of the event',
    file: 'SHA-256 of the file',
    unnamed: 'its recipients',
    version: 'version {version}, issued {issued}; certificates are taken for good as of then, unless a revocation list was given',
    technical: 'details',
    bundle: 'The bundle is whole, and each of the {count} receipts in it is valid. Below stands what is proven for each recipient.',
    'bundle-invalid': 'This bundle cannot be relied on as it is. {why}',
    'bundle-other-document': 'This bundle is not about the document shown ({document}). Every other step holds: take the document away to see what the bundle proves.',
    'bundle-document': 'The document shown is the one that {proven} of {all} receipts are about.',
    'bundle-about': 'The bundle',
    recipients: 'Recipient by recipient',
    'recipients-alone': 'Recipient by recipient, by those receipts alone that are valid by themselves',
    'no-recipients': 'Nothing is concluded for any recipient: there is no receipt that is valid and counts; see the checks.',
    by: 'Put together by',
    'by-own-word': 'Put together by (own word)',
    'by-node': 'At node (own word)',
    'signed-then': 'signed {time} by the same clock',
    'proven-then': 'there by {time}, as a time-stamp shows',
    'not-stamped': 'no independent time',
    made: 'Put together',
    signer: 'Signing certificate',
    signed: 'Signed',
    others: 'The signature also covers (the word of who put it together alone)',
    bytes: '{count} bytes',
    more: '… and {count} more',
    'in-it': 'Receipts in it ({count})',
    'statuses-in-it': 'Business statuses in it ({count})',
    'status-title': 'Status {code}: {name}',
    'status-from': '{from} to {to}',
    'status-staff': 'Officer: {staff}',
    'status-stated': 'stated {time}',
    'status-received': 'reached {to} {time}',
    'left-out': 'Statuses left out',
    successor: 'successor {code}',
  },
};

/** Events in a few words, for timelines. */
export const EVENT_NAMES = {
  SubmissionAcceptance: { vi: 'Đã gửi', en: 'Sent' },
  SubmissionRejection: { vi: 'Nút gửi từ chối', en: 'Refused by the sending node' },
  RelayAcceptance: { vi: 'Trục đã nhận', en: 'Taken by the relay' },
  'RelayAcceptance recipient': { vi: 'Đã nhận gói niêm phong', en: 'Sealed envelope received' },
  RelayRejection: { vi: 'Trục từ chối', en: 'Refused by the relay' },
  RelayFailure: { vi: 'Trục không giao được', en: 'Not delivered by the relay' },
  ContentConsignment: { vi: 'Đã nhận và mở văn bản', en: 'Received and opened' },
  ContentConsignmentFailure: { vi: 'Không mở được hoặc không tiếp nhận', en: 'Not opened or not accepted' },
  ContentHandover: { vi: 'Hệ thống văn bản đã tiếp nhận', en: 'Taken by the document system' },
  ContentHandoverFailure: { vi: 'Hệ thống văn bản từ chối', en: 'Refused by the document system' },
  RelayToNonERDS: { vi: 'Đã chuyển sang trục hiện hành', en: "Passed on to today's axis" },
  ReceivedFromNonERDS: { vi: 'Đã nhận từ trục hiện hành', en: "Received from today's axis" },
};

/** How far a recipient provably is; `tone` as of a verdict. */
export const STANDING_TEXTS = {
  nothing: { tone: 'cannot-tell', vi: 'Chưa có gì chứng minh về nơi nhận này', en: 'Nothing is proven about this recipient' },
  'not-sent': { tone: 'invalid', vi: 'Bên gửi nêu là không gửi; xem lý do', en: 'The sender states that it did not send it; see why' },
  sent: {
    tone: 'cannot-tell',
    vi: 'Chỉ bên gửi nêu là đã gửi; chưa chứng minh được văn bản đã rời bên gửi',
    en: 'The sender alone says that it was sent; whether it left is not proven',
  },
  relayed: {
    tone: 'cannot-tell',
    vi: 'Trục xác nhận đã nhận; chưa chứng minh được nơi nhận đã nhận',
    en: 'The relay states that it has it; whether the recipient got it is not proven',
  },
  failed: {
    tone: 'invalid',
    vi: 'Trục nêu là không giao được; xem lý do. Chưa có lời nào của nơi nhận',
    en: 'The relay states that it was not delivered; see why. Of the recipient there is no word',
  },
  'passed-on': {
    tone: 'cannot-tell',
    vi: 'Bên gửi nêu đã chuyển sang trục hiện hành, nơi không có giấy báo nhận ký số; chưa chứng minh được nơi nhận đã nhận',
    en: "The sender states that it handed it over to today's axis, where nothing is signed; whether the recipient got it is not proven",
  },
  taken: {
    tone: 'cannot-tell',
    vi: 'Nơi nhận xác nhận đang giữ văn bản đã niêm phong; chưa chứng minh được đã mở. Nơi nhận không thể chối là đã nhận được gói',
    en: 'The recipient states that it holds the sealed document; that it could open it is not proven. It cannot deny having it',
  },
  'not-opened': {
    tone: 'invalid',
    vi: 'Nơi nhận xác nhận đang giữ văn bản đã niêm phong nhưng không mở được hoặc không tiếp nhận nội dung; xem lý do. Nơi nhận không thể chối là đã nhận được gói',
    en: 'The recipient states that it holds the sealed document and could not open it or did not accept its content; see why. It cannot deny having it',
  },
  consigned: {
    tone: 'valid',
    vi: 'Nơi nhận xác nhận đã nhận và mở được văn bản. Nơi nhận không thể chối',
    en: 'The recipient states that it received and opened the document. It cannot deny that',
  },
  refused: {
    tone: 'invalid',
    vi: 'Nơi nhận đã nhận và mở được, hệ thống của nơi nhận từ chối. Nơi nhận không thể chối là đã nhận',
    en: 'The recipient received and opened it, and its document system refused it. It cannot deny having received it',
  },
  'handed-over': {
    tone: 'valid',
    vi: 'Nơi nhận đã nhận, mở được, và hệ thống của nơi nhận đã tiếp nhận. Nơi nhận không thể chối',
    en: 'The recipient received and opened it, and its document system took it. It cannot deny that',
  },
};

/** What does not go together in what is proven about a recipient. */
export const REMARK_TEXTS = {
  'no-submission': {
    vi: 'Ở đây không có biên nhận của bên gửi: việc bên đó đã gửi chỉ là lời của bên khác; khi cần hãy hỏi bên gửi',
    en: 'There is no receipt of the sender here: that it sent this is the word of others; where that matters, ask the sender',
  },
  'two-submissions': {
    vi: 'Bên gửi đã nêu hai lần gửi dưới cùng mã gói tin; ở đây tính theo lần mà lời của chính nơi nhận chỉ tới, nếu không có thì lần mà bên khác biết đến: hãy hỏi bên gửi đã gửi lần nào',
    en: "The sender stated two submissions under this number; told here is the one that the recipient's own word names, else one that others know of: ask the sender which one it sent",
  },
  'not-addressed': {
    vi: 'Lần gửi của bên gửi không ghi cơ quan này là nơi nhận: việc đã nhận chỉ là lời của chính cơ quan đó; hãy hỏi bên gửi',
    en: "The sender's submission does not name this agency: that it got the document is its own word; ask the sender",
  },
  'other-content': {
    vi: 'Lời của chính nơi nhận nói về nội dung khác với nội dung đã gửi cho nơi đó dưới cùng mã gói tin, hoặc về nhiều nội dung: hãy hỏi nơi nhận và bên gửi',
    en: "The recipient's own word names another content than was sent to it under this number, or more than one: ask the recipient and the sender",
  },
  'two-histories': {
    vi: 'Có bên nêu điều này giữ sổ cái cho thấy hai lịch sử: bên đó không thể chối điều đã ký, nhưng không tin lời nào có lợi cho chính bên đó; hãy báo đơn vị vận hành trục',
    en: 'Somebody who states this keeps a ledger that shows two histories: it cannot deny what it signed, and nothing it states is to be believed in its own favour; tell the axis operator',
  },
  'relay-denies': {
    vi: 'Trục nêu đã từ chối gói tin, còn chính nơi nhận ký xác nhận đã nhận: tính theo lời nơi nhận; hãy hỏi cả hai bên vì sao khác nhau',
    en: "The relay states that it refused this, the recipient's own signed word that it has it: the recipient's word counts; ask both why they differ",
  },
  'delivered-late': {
    vi: 'Trục nêu không chuyển tới trong thời hạn, còn chính nơi nhận ký xác nhận đã nhận: văn bản có đến, nhưng muộn',
    en: "The relay states that it was not delivered in time, the recipient's own signed word that it has it: it came, and late",
  },
  'opened-and-not': {
    vi: 'Nơi nhận vừa nêu đã mở được vừa nêu không mở được văn bản: hãy hỏi nơi nhận lời nào đúng',
    en: 'The recipient states both that it opened the document and that it could not: ask the recipient which holds',
  },
  'took-and-refused': {
    vi: 'Nơi nhận nêu hệ thống quản lý văn bản đã tiếp nhận, sau đó lại nêu hệ thống từ chối: hãy hỏi nơi nhận lời nào đúng',
    en: 'The recipient states that its document system took it, and later that it refused it: ask the recipient which holds',
  },
};

/** What is strange about an event, or about a business status. */
export const STEP_REMARK_TEXTS = {
  'out-of-order': {
    vi: 'giờ này sớm hơn giờ của bước trước đó: có đồng hồ sai hoặc giờ nêu không đúng; hỏi lại bên nêu',
    en: 'this time lies before that of the step before it: a clock was wrong, or the time is not true; ask who states it',
  },
  'proven-late': {
    vi: 'chỉ được ký, hoặc chỉ chứng minh được là đã có, muộn hơn nhiều so với giờ tự nêu; không dựa riêng vào giờ đó',
    en: 'signed, or proven to have been there, only long after the time it names; do not rely on that time alone',
  },
  'wrong-side': {
    vi: 'trạng thái này do bên kia của văn bản đặt: cơ quan đó có nêu như vậy, nhưng không làm thay đổi gì',
    en: 'this status is for the other side of the document to set: it is what that agency said, and changes nothing',
  },
  'two-histories': {
    vi: 'sổ cái làm căn cứ cho thấy hai lịch sử: bên ký không thể chối, nhưng không tin lời nào có lợi cho chính bên đó',
    en: 'a ledger that it rests on shows two histories: who signed it cannot deny it, and is not to be believed in its own favour',
  },
};

/** Groups of checks: the heading, and the first check of the group. */
export const GROUPS = [
  ['receipt-form', { vi: 'Tệp và sự kiện', en: 'File and event' }],
  ['leaf-included', { vi: 'Sổ cái', en: 'Ledger' }],
  ['certificate-line', { vi: 'Chữ ký của chứng thư số', en: "The certificate's signature" }],
  ['root-form', { vi: 'Danh bạ có chữ ký', en: 'The signed directory' }],
  ['node-kind', { vi: 'Quyền của bên lập', en: 'Who may say so' }],
  ['preamble-shown', { vi: 'Gói tin', en: 'The envelope' }],
  ['signed-after', { vi: 'Thời gian', en: 'Times' }],
  ['opening-commitment', { vi: 'Văn bản', en: 'The document' }],
];

/** Lanes of an axis. */
export const LANE_TEXTS = {
  ordinary: { vi: 'luồng thường', en: 'ordinary lane' },
  classified: { vi: 'luồng mật', en: 'classified lane' },
};

/** What a receipt rests on (docs/FORMATS.md, "Verifying a receipt"). */
export const LEVEL_TEXTS = {
  signed: { vi: 'ký bằng chứng thư số của nút', en: "signed by the node's certificate" },
  witnessed: { vi: 'đủ bên chứng kiến theo chính sách', en: 'witnessed by as many others as the policy asks for' },
  stamped: { vi: 'có dấu thời gian của bên thứ ba', en: 'time-stamped by an independent authority' },
};

/** The closed list of reasons (docs/FORMATS.md, "Reasons"). */
export const REASON_TEXTS = {
  'unknown-code': {
    vi: 'Mã định danh nơi nhận không có trong danh bạ; kiểm tra lại mã.',
    en: "The recipient's code is not in the directory; check the code.",
  },
  'closed-code': {
    vi: 'Mã định danh nơi nhận đã đóng; gửi tới mã kế thừa.',
    en: "The recipient's code is closed; send to its successor.",
  },
  'not-entitled': {
    vi: 'Nút gửi không được dùng mã định danh này; đề nghị đơn vị vận hành trục kiểm tra danh bạ.',
    en: 'The sending node may not use this code; ask the axis operator to check the directory.',
  },
  'wrong-lane': {
    vi: 'Sai luồng hoặc sai trục; gửi bằng nút thuộc đúng luồng.',
    en: 'Wrong lane or axis; send from a node of the right lane.',
  },
  'level-refused': {
    vi: 'Độ mật không được phép trên luồng này; gửi theo quy định về bí mật nhà nước.',
    en: 'This lane does not carry that secrecy level; follow the state-secrets rules.',
  },
  'id-reused': {
    vi: 'Mã gói tin đã dùng cho nội dung khác; bên gửi phải tạo gói tin mới.',
    en: 'The envelope id was used for other content; the sender must make a new envelope.',
  },
  invalid: {
    vi: 'Chữ ký, bằng chứng hoặc trường dữ liệu không hợp lệ; bên gửi kiểm tra phần mềm.',
    en: 'A signature, proof or field does not hold; the sender must check its software.',
  },
  'certificate-refused': {
    vi: 'Chứng thư số hết hạn, bị thu hồi hoặc sai mục đích; quản trị viên mật mã bên gửi thay chứng thư.',
    en: "A certificate is expired, revoked or of the wrong use; the sender's cipher administrator must replace it.",
  },
  'cannot-open': {
    vi: 'Bên nhận không có khóa để mở; bên gửi mã hóa lại theo chứng thư mới.',
    en: 'The recipient has no key that opens it; the sender must seal again to the present certificate.',
  },
  'content-mismatch': {
    vi: 'Nội dung mở ra không khớp với thông tin đã ký; không tiếp nhận.',
    en: 'The opened content is not what was signed; it is not accepted.',
  },
  'content-refused': {
    vi: 'Nội dung có dạng không an toàn; bên gửi tạo lại gói tin.',
    en: "The content's form is unsafe; the sender must make the packet again.",
  },
  expired: {
    vi: 'Không giao được trước khi hết hạn; bên gửi liên hệ nơi nhận rồi gửi lại.',
    en: 'Not delivered before it expired; contact the recipient and send again.',
  },
  'too-old': {
    vi: 'Gói tin cũ hơn thời hạn cho phép; bên gửi tạo gói tin mới.',
    en: 'Older than the longest life of an envelope; make a new one.',
  },
  'from-future': {
    vi: 'Thời gian của gói tin ở tương lai; chỉnh lại đồng hồ máy gửi.',
    en: "Its time lies in the future; set the sender's clock.",
  },
  'too-large': {
    vi: 'Gói tin vượt quá dung lượng cho phép; chia nhỏ tệp đính kèm.',
    en: 'Larger than the receiving side allows; split the attachments.',
  },
  superseded: {
    vi: 'Văn bản này đã có gói tin khác kết thúc cho nơi nhận; không cần làm gì.',
    en: 'Another envelope for this document and recipient is final already; nothing to do.',
  },
  'refused-by-system': {
    vi: 'Hệ thống quản lý văn bản từ chối; xem lý do kèm theo.',
    en: 'The document system refused it; see the reason given.',
  },
  withdrawn: {
    vi: 'Bên gửi đã lấy lại trước khi chuyển đi.',
    en: 'The sender withdrew it before it left.',
  },
  'refused-by-legacy': {
    vi: 'Trục hiện hành từ chối; xem lý do kèm theo, sửa rồi gửi lại.',
    en: "Today's axis refused it; see its words, correct and send again.",
  },
  'legacy-in-doubt': {
    vi: 'Đã gửi sang trục hiện hành nhưng không có trả lời và danh sách đã gửi của trục không có: có thể đã đến. Hỏi nơi nhận trước khi gửi lại.',
    en: "Given to today's axis, which did not answer and does not list it: it may have arrived. Ask the recipient before sending again.",
  },
  'held-too-long': {
    vi: 'Không ký được trong thời hạn; kiểm tra khóa ký và danh bạ rồi gửi lại.',
    en: 'It could not be signed in time; check the signing key and the directory, then send again.',
  },
};

/** Per check of a bundle, as `CHECK_TEXTS`. */
export const BUNDLE_CHECK_TEXTS = {
  'bundle-form': {
    vi: ['tệp là bộ chứng cứ, không thành phần nào bị sửa sau khi ký', 'Tệp hỏng, đã bị sửa hoặc không phải bộ chứng cứ; đề nghị nơi giữ cung cấp bản gốc.'],
    en: ['the file is a bundle, and nothing in it was changed since it was signed', 'The file is damaged, was changed, or is no bundle; ask its holder for the original.'],
  },
  'bundle-signature': {
    vi: ['chữ ký của bên lập bộ chứng cứ đúng', 'Chữ ký không thuộc bộ chứng cứ này: có thể đã bị bớt hoặc thêm thành phần; đề nghị cung cấp bản gốc.'],
    en: ['the signature of who put it together holds', 'The signature does not belong to this bundle: entries may have been left out or put in; ask for the original.'],
  },
  'bundle-signer': {
    vi: ['chứng thư của bên lập dẫn tới cơ quan chứng thực tin cậy', 'Không cơ quan chứng thực nào trong tệp tin cậy bảo đảm cho bên lập. Trước hết kiểm tra đã đưa đúng tệp tin cậy của trục này; nếu đúng, chỉ dựa vào từng biên nhận trong đó.'],
    en: ["the signer's certificate leads to a trusted authority", 'Nobody among the trust files vouches for who put the bundle together. Check first that these are the right files of this axis; else rely on the receipts in it alone, one by one.'],
  },
  'bundle-maker': {
    vi: ['bên lập và lúc lập tự nêu đúng với chữ ký', 'Bên lập hoặc lúc lập tự nêu khác với chữ ký: không tin lời nêu đó. Các biên nhận trong đó tự có giá trị.'],
    en: [
      'who is said to have put it together, and when, is who signed, and when',
      'It names another maker or another time than its signature shows: believe neither. The receipts in it stand by themselves.',
    ],
  },
  'bundle-one-document': {
    vi: [
      'mọi biên nhận đều về cùng một văn bản',
      'Có biên nhận của văn bản khác lẫn vào, hoặc bên gửi lập hai văn bản cùng một mã gói tin; hãy hỏi bên gửi đã gửi văn bản nào và yêu cầu từng bên giữ cung cấp biên nhận của mình.',
    ],
    en: [
      'every receipt is about the same document',
      'Receipts of another document were put among these, or the sender made two documents under one number; ask the sender which one it sent, and each holder for its own receipts.',
    ],
  },
  'bundle-no-fork': {
    vi: [
      'không sổ cái nào cho thấy hai lịch sử khác nhau',
      'Một bên đưa ra hai lịch sử của cùng một sổ cái: bên đó không thể chối điều đã ký, nhưng không tin lời nào có lợi cho chính bên đó; hãy gửi cả hai biên nhận cho đơn vị vận hành trục.',
    ],
    en: [
      'no ledger shows two histories',
      'A party showed two histories of one ledger: it cannot deny what it signed, and nothing it states is to be believed in its own favour; give both receipts to the axis operator.',
    ],
  },
  'bundle-none-stopped': {
    vi: [
      'không danh bạ nào mới hơn trong đó nêu chứng thư đã ký bị thu hồi',
      'Danh bạ mới hơn ngay trong bộ chứng cứ cho thấy chứng thư ký đã bị thu hồi hoặc tạm dừng: các biên nhận được nêu chưa được chứng minh; hãy hỏi bên lập chúng.',
    ],
    en: [
      'no later directory in it names a certificate that signed as revoked',
      'A newer directory in the same bundle shows that a signing certificate had been revoked or suspended: the receipts named are not proven; ask their maker.',
    ],
  },
  'bundle-receipts': {
    vi: ['từng biên nhận trong đó đều hợp lệ', 'Xem các biên nhận không hợp lệ hoặc chưa kết luận được: điều chúng nêu chưa được chứng minh.'],
    en: ['each receipt in it is valid', 'See the receipts that are not, or of which it cannot be told yet: what they say is not proven.'],
  },
  'bundle-statuses': {
    vi: ['từng trạng thái xử lý trong đó đều hợp lệ', 'Xem các trạng thái không hợp lệ hoặc chưa kết luận được: điều chúng nêu chưa được chứng minh.'],
    en: ['each business status in it is valid', 'See the statuses that are not, or of which it cannot be told yet: what they say is not proven.'],
  },
};

/** Per check of a business status in a bundle, as `CHECK_TEXTS`. */
export const STATUS_CHECK_TEXTS = {
  'status-form': {
    vi: ['trạng thái xử lý đúng định dạng', 'Trạng thái thiếu hoặc có thể hiểu nhiều cách; đề nghị nơi giữ cung cấp bản gốc.'],
    en: ['the business status is well-formed', 'The status is missing or can be read in more than one way; ask its holder for the original.'],
  },
  'status-receipts': {
    vi: ['các biên nhận của trạng thái hợp lệ, trong đó có biên nhận của bên nêu', 'Xem các biên nhận không hợp lệ: thiếu chúng thì chưa chứng minh được ai đã nêu trạng thái này.'],
    en: ['its receipts are valid, and one of them states it', 'See the receipts that are not valid: without them nobody has provably said this.'],
  },
  'status-envelope': {
    vi: ['các biên nhận đều về cùng một gói tin, là gói tin trạng thái', 'Có biên nhận của gói tin khác lẫn vào; chúng không chứng minh trạng thái này.'],
    en: ['its receipts are about one envelope, that of a status', 'Receipts of another envelope were put beside it; they do not prove it.'],
  },
  'status-content': {
    vi: ['đúng với nội dung đã cam kết khi niêm phong', 'Trạng thái đã bị sửa hoặc không phải trạng thái đã gửi; không có giá trị chứng minh.'],
    en: ['it is what the sealed content was committed to', 'The status was changed, or is another than the one that was sent; it proves nothing.'],
  },
  'status-parties': {
    vi: ['bên gửi gói tin đúng là bên nêu, nơi nhận đúng là bên được báo', 'Trạng thái nêu thay cho cơ quan không gửi nó; hãy yêu cầu trạng thái của chính cơ quan đó.'],
    en: ['who sent it is who says it, and it went to whom it is for', 'It speaks for an agency that did not send it; ask that agency for its own status.'],
  },
  'status-time': {
    vi: ['lúc đặt trạng thái không muộn hơn lúc nút nêu', 'Trạng thái ghi lúc đặt muộn hơn lúc đã được nêu, điều không thể có: không dựa vào giờ đó; hãy hỏi cơ quan nêu.'],
    en: ['it was set no later than it was stated', 'It says that it was set after it had been stated, which cannot be: do not rely on its time; ask the agency.'],
  },
  'status-document': {
    vi: ['trạng thái về đúng văn bản này', 'Trạng thái của văn bản khác, không nói gì về văn bản này.'],
    en: ['it is about this document', 'It is about another document and says nothing of this one.'],
  },
  'status-signature': {
    vi: ['chữ ký của cơ quan trên trạng thái đúng', 'Chữ ký không thuộc trạng thái này; không có giá trị chứng minh.'],
    en: ["the agency's signature over it holds", 'The signature does not belong to this status; it proves nothing.'],
  },
  'status-signer': {
    vi: ['người ký là chứng thư của chính cơ quan đó, do cơ quan chứng thực tin cậy cấp', 'Bên khác đã ký, hoặc chứng thư ký không còn giá trị; hãy hỏi cơ quan được nêu là bên lập trạng thái.'],
    en: ['the signer is a certificate of that agency, of a trusted authority', 'Somebody else signed it, or with a certificate that does not count; ask the agency that is said to have set it.'],
  },
};

/** What a business status in a bundle rests on. */
export const BASIS_TEXTS = {
  'taken-over': { vi: 'đến từ trục hiện hành, nơi không có chữ ký số: chỉ nút nhận nêu', en: "came from today's axis, where nothing is signed: the receiving node alone says so" },
  stated: { vi: 'nút của cơ quan nêu; bộ chứng cứ không kèm chữ ký của chính cơ quan', en: "stated by the agency's node; its own signature is not in the bundle" },
  signed: { vi: 'cơ quan đã ký số', en: 'signed by the agency' },
};

/** Business statuses by code; of the others nobody says what they mean. */
export const STATUS_NAMES = {
  '01': { vi: 'Đã đến', en: 'Arrived' },
  '02': { vi: 'Từ chối tiếp nhận', en: 'Refused' },
  '03': { vi: 'Đã tiếp nhận', en: 'Accepted' },
  '04': { vi: 'Phân công', en: 'Assigned' },
  '05': { vi: 'Đang xử lý', en: 'In progress' },
  '06': { vi: 'Hoàn thành', en: 'Done' },
  '13': { vi: 'Lấy lại', en: 'Asked back' },
  '15': { vi: 'Đồng ý cập nhật / lấy lại', en: 'Agreed to the update or withdrawal' },
  '16': { vi: 'Từ chối cập nhật / lấy lại', en: 'Refused the update or withdrawal' },
};
export const STATUS_UNKNOWN = { vi: 'Mã trạng thái không rõ', en: 'Unknown status' };

/** Per check: what holds when it passes; what it means when it does not, and who must do what. */
export const CHECK_TEXTS = {
  'receipt-form': {
    vi: ['tệp đúng dạng biên nhận', 'Tệp hỏng hoặc không phải biên nhận; đề nghị nơi giữ cung cấp bản gốc.'],
    en: ['the file is a receipt', 'The file is damaged or no receipt; ask its holder for the original.'],
  },
  'leaf-form': {
    vi: ['sự kiện đúng định dạng', 'Sự kiện có thể hiểu nhiều cách; bên lập phải sửa phần mềm.'],
    en: ['the event is well-formed', 'The event can be read in more than one way; its actor must correct its software.'],
  },
  'role-fits-event': {
    vi: ['sự kiện phù hợp vai trò của bên lập', 'Không bên nào được lập sự kiện này với vai trò đó; không có giá trị chứng minh.'],
    en: ["the event belongs to the actor's role", 'Nobody can state this event in that role; it proves nothing.'],
  },
  'code-fits-role': {
    vi: ['bên lập dùng đúng mã của mình', 'Bên lập nói về phần của cơ quan khác; hãy yêu cầu biên nhận của chính cơ quan đó.'],
    en: ['the actor speaks for its own code', "The actor speaks about another agency's part; ask that agency for its own receipt."],
  },
  'leaf-consistent': {
    vi: ['các trường của sự kiện thống nhất', 'Sự kiện tự mâu thuẫn; bên lập phải sửa phần mềm.'],
    en: ["the event's fields agree", 'The event contradicts itself; its actor must correct its software.'],
  },
  'leaf-included': {
    vi: ['sự kiện nằm trong sổ cái', 'Sự kiện đã bị sửa hoặc chưa từng có trong sổ cái đó; không có giá trị chứng minh.'],
    en: ['the event stands in the ledger', 'The event was changed or never stood in that ledger; it proves nothing.'],
  },
  'checkpoint-origin': {
    vi: ['điểm chốt thuộc sổ cái của nút', 'Điểm chốt thuộc sổ cái khác; hãy yêu cầu biên nhận của đúng nút đã thực hiện.'],
    en: ["the checkpoint is of the node's ledger", 'The checkpoint is of another ledger; ask for a receipt of the node that acted.'],
  },
  'ledger-signature': {
    vi: ['khóa sổ cái đã ký điểm chốt', 'Khóa sổ cái của nút không ký điểm chốt này; không có giá trị chứng minh.'],
    en: ['the ledger key signed the checkpoint', "The node's ledger key did not sign this; it proves nothing."],
  },
  'certificate-line': {
    vi: ['điểm chốt có chữ ký của chứng thư số', 'Biên nhận tạm thời: nút chưa ký bằng chứng thư số; hãy lấy lại biên nhận sau ít phút.'],
    en: ["the checkpoint carries the certificate's signature", 'The receipt is provisional: the node has not yet signed with its certificate; fetch it again in a moment.'],
  },
  'certificate-signature': {
    vi: ['chữ ký của chứng thư số đúng với điểm chốt', 'Chữ ký không thuộc điểm chốt này; không có giá trị chứng minh.'],
    en: ["the certificate's signature holds over the checkpoint", 'The signature does not belong to this checkpoint; it proves nothing.'],
  },
  'certificate-signer': {
    vi: ['người ký là chứng thư của nút trong danh bạ', 'Bên khác đã ký điểm chốt; không chứng minh gì về nút này.'],
    en: ["the signer is the node's certificate in the directory", 'Somebody else signed the checkpoint; it proves nothing about this node.'],
  },
  'certificate-path': {
    vi: ['chứng thư dẫn tới cơ quan chứng thực tin cậy', 'Không có cơ quan chứng thực tin cậy bảo đảm; kiểm tra tệp gốc tin cậy, nếu đúng thì không sử dụng.'],
    en: ['the certificate leads to a trusted authority', 'No trusted authority stands behind the certificate; check the anchors, else do not rely on it.'],
  },
  'certificate-time': {
    vi: ['chứng thư còn hiệu lực khi ký', 'Chứng thư ký ngoài thời hạn hiệu lực; nút phải ký lại bằng chứng thư còn hiệu lực.'],
    en: ['the certificate was valid when it signed', 'It signed outside its validity; the node must sign again with a valid certificate.'],
  },
  'certificate-bound': {
    vi: ['chứng thư được đăng ký trong danh bạ cho thời điểm đó', 'Danh bạ không cho phép chứng thư này vào thời điểm đó; hãy hỏi đơn vị vận hành trục.'],
    en: ['the operator had bound the certificate for that time', 'The directory did not let this certificate act then; ask the axis operator.'],
  },
  'certificate-revocation': {
    vi: ['chưa biết việc thu hồi nào đối với chứng thư, theo danh bạ lúc phát hành và các danh sách thu hồi, trả lời OCSP được tính', 'Chứng thư đã thu hồi không còn giá trị sau thời điểm thu hồi; trước đó chỉ có giá trị nếu có dấu thời gian.'],
    en: ["no revocation of the certificate is known, from the directory as issued and from those revocation lists and OCSP answers that count", 'A revoked certificate proves nothing after its revocation, and before it only with a time-stamp.'],
  },
  'certificate-expiry': {
    vi: ['chứng thư chưa hết hạn, hoặc có dấu thời gian chứng tỏ đã ký trước khi hết hạn', 'Chứng thư đã hết hạn và không có dấu thời gian chứng tỏ đã ký trước đó; đề nghị nút đã lập cấp lại biên nhận ký mới.'],
    en: ['the certificate has not expired, or a time-stamp shows that it signed before', 'Expired, and no time-stamp shows that it had signed before; ask the node that acted for its receipt signed anew.'],
  },
  'time-stamps': {
    vi: ['dấu thời gian thuộc đúng chữ ký của chứng thư số', 'Có dấu thời gian không hợp lệ hoặc thuộc nội dung khác; đề nghị nút đã lập cung cấp biên nhận của chính nút đó.'],
    en: ["the time-stamps belong to the certificate's signature", 'A time-stamp here is none, or of something else; ask the node that acted for its own receipt.'],
  },
  witnesses: {
    vi: ['điểm chốt có đủ bên chứng kiến theo chính sách', 'Chưa đủ bên chứng kiến mà chính sách yêu cầu; hãy yêu cầu nút cung cấp lại biên nhận, nếu vẫn vậy thì báo đơn vị vận hành trục.'],
    en: ['as many witnesses cosigned the checkpoint as the policy demands', 'The witnesses that the policy relies on do not stand behind it; ask the node for the receipt anew, and tell the axis operator if it stays so.'],
  },
  'root-form': {
    vi: ['gốc danh bạ đúng định dạng', 'Gốc danh bạ có thể hiểu nhiều cách; đơn vị vận hành trục phải phát hành lại.'],
    en: ['the directory root is well-formed', 'The directory root can be read in more than one way; the axis operator must publish a right one.'],
  },
  'root-signature': {
    vi: ['chữ ký trên gốc danh bạ đúng', 'Gốc danh bạ này không được ký; không trao quyền cho ai.'],
    en: ['the signature over the directory root holds', 'This directory root was not signed; it entitles nobody.'],
  },
  'root-signer': {
    vi: ['đơn vị vận hành đã ghim ký gốc danh bạ', 'Không phải đơn vị vận hành đã ghim ký; kiểm tra chứng thư đơn vị vận hành đã đưa vào, nếu đúng thì không sử dụng.'],
    en: ['the pinned operator signed the directory root', "Somebody other than the pinned operator signed; check the operator's certificate given, else do not rely on it."],
  },
  'operator-path': {
    vi: ['chứng thư đơn vị vận hành dẫn tới cơ quan chứng thực tin cậy', 'Không có cơ quan chứng thực tin cậy bảo đảm chứng thư đơn vị vận hành; kiểm tra tệp gốc tin cậy.'],
    en: ["the operator's certificate leads to a trusted authority", "No trusted authority stands behind the operator's certificate; check the anchors."],
  },
  'operator-time': {
    vi: ['chứng thư đơn vị vận hành còn hiệu lực khi phát hành', 'Gốc danh bạ phát hành ngoài thời hạn chứng thư của đơn vị vận hành; không trao quyền cho ai.'],
    en: ["the operator's certificate was valid at issue", "The root was issued outside the validity of the operator's certificate; it entitles nobody."],
  },
  'operator-revocation': {
    vi: ['chưa biết việc thu hồi nào đối với chứng thư đơn vị vận hành, theo các danh sách thu hồi, trả lời OCSP được tính', 'Chứng thư đơn vị vận hành đã bị thu hồi; đề nghị đơn vị vận hành ký lại gốc danh bạ.'],
    en: ["no revocation of the operator's certificate is known from those revocation lists and OCSP answers that count", "The operator's certificate is revoked; ask the operator for a root signed anew."],
  },
  'operator-expiry': {
    vi: ['chứng thư đơn vị vận hành chưa hết hạn, hoặc có dấu thời gian chứng tỏ đã ký trước khi hết hạn', 'Chứng thư đã hết hạn và không có dấu thời gian chứng tỏ gốc danh bạ đã ký trước đó; đề nghị nút đã lập cấp biên nhận kèm gốc danh bạ mới hơn.'],
    en: ["the operator's certificate has not expired, or a time-stamp shows that it signed before", 'Expired, and no time-stamp shows that the root had been signed before; ask the node that acted for a receipt under a newer root.'],
  },
  'root-time-stamps': {
    vi: ['dấu thời gian thuộc đúng chữ ký của đơn vị vận hành', 'Có dấu thời gian không hợp lệ hoặc thuộc nội dung khác; đề nghị đơn vị vận hành cung cấp gốc danh bạ nguyên bản.'],
    en: ["the time-stamps belong to the operator's signature", 'A time-stamp here is none, or of something else; ask the operator for the directory root as it was signed.'],
  },
  'node-form': {
    vi: ['mục danh bạ của nút đúng định dạng', 'Mục danh bạ của nút có thể hiểu nhiều cách; đơn vị vận hành trục phải sửa.'],
    en: ["the node's entry is well-formed", "The node's entry can be read in more than one way; the axis operator must correct it."],
  },
  'node-included': {
    vi: ['mục của nút nằm trong danh bạ', 'Mục của nút đã bị sửa hoặc chưa từng được ký; không trao quyền cho ai.'],
    en: ["the node's entry stands in the directory", "The node's entry was changed or never signed; it entitles nobody."],
  },
  'agency-form': {
    vi: ['mục danh bạ của cơ quan đúng định dạng', 'Mục danh bạ của cơ quan có thể hiểu nhiều cách; đơn vị vận hành trục phải sửa.'],
    en: ["the agency's entry is well-formed", "The agency's entry can be read in more than one way; the axis operator must correct it."],
  },
  'agency-included': {
    vi: ['mục của cơ quan nằm trong danh bạ', 'Mục của cơ quan đã bị sửa hoặc chưa từng được ký; không trao quyền cho ai.'],
    en: ["the agency's entry stands in the directory", "The agency's entry was changed or never signed; it entitles nobody."],
  },
  'root-issued': {
    vi: ['gốc danh bạ phát hành trước sự kiện', 'Gốc danh bạ có sau sự kiện; biên nhận phải kèm gốc danh bạ có hiệu lực khi đó.'],
    en: ['the directory root was issued before the event', 'The root is later than the event and proves nothing about that time; the receipt needs the root then in force.'],
  },
  'root-current': {
    vi: ['gốc danh bạ còn hiệu lực khi có sự kiện', 'Gốc danh bạ đã hết hạn trước sự kiện; biên nhận phải kèm gốc danh bạ có hiệu lực khi đó.'],
    en: ['the directory root was in force at the event', 'The root had run out before the event; the receipt needs the root then in force.'],
  },
  'root-relied-on': {
    vi: ['danh bạ đúng bản mà bên gửi đã dùng', 'Bên gửi dùng bản danh bạ khác; tồn tại hai lịch sử danh bạ, hãy hỏi đơn vị vận hành trục.'],
    en: ['the directory is the one that the sender relied on', 'The sender relied on another directory; two histories exist, ask the axis operator.'],
  },
  'node-kind': {
    vi: ['đúng là nút hoặc máy chuyển tiếp theo vai trò', 'Nút đóng vai máy chuyển tiếp hoặc ngược lại; không có giá trị chứng minh.'],
    en: ['node or relay, as the role demands', 'A node speaks as the relay or the relay as a node; it proves nothing.'],
  },
  'node-is-actor': {
    vi: ['nút của bên lập là chủ sổ cái', 'Sự kiện của nút này nằm trong sổ cái nút khác; không có giá trị chứng minh.'],
    en: ["the actor's node is the ledger's", "One node's event stands in another's ledger; it proves nothing."],
  },
  'node-origin': {
    vi: ['tên sổ cái đúng trục, luồng và nút', 'Sổ cái thuộc trục, luồng hoặc nút khác; đơn vị vận hành trục phải sửa mục danh bạ.'],
    en: ["the ledger's origin names this axis, lane and node", 'The ledger belongs to another axis, lane or node; the axis operator must correct the entry.'],
  },
  'node-lane': {
    vi: ['nút thuộc đúng luồng', 'Nút thuộc luồng khác; không có giá trị ở luồng này.'],
    en: ['the node serves this lane', 'The node is of the other lane; it proves nothing here.'],
  },
  'agency-shown': {
    vi: ['có mục danh bạ của cơ quan', 'Không có gì chứng tỏ nút được dùng mã này; hãy yêu cầu biên nhận đầy đủ.'],
    en: ["the agency's entry is there", 'Nothing shows that the node may use the code; ask for a complete receipt.'],
  },
  'agency-is-actor': {
    vi: ['mục danh bạ đúng mã của bên lập', 'Mục danh bạ thuộc cơ quan khác; không trao quyền dùng mã này.'],
    en: ["the agency's entry is of the actor's code", "The entry shown is another agency's; it entitles nobody to this code."],
  },
  'agency-node': {
    vi: ['danh bạ gắn mã với nút này', 'Nút này không được dùng mã đó: khóa của cơ quan này dùng cho cơ quan khác; báo hai bên và đơn vị vận hành trục.'],
    en: ['the directory binds the code to this node', "This node may not use the code: one agency's key was used for another; tell both and the axis operator."],
  },
  'agency-lane': {
    vi: ['cơ quan tham gia luồng này', 'Cơ quan không tham gia luồng này; hãy hỏi đơn vị vận hành trục.'],
    en: ['the agency takes part in this lane', 'The agency does not take part in this lane; ask the axis operator.'],
  },
  'code-in-force': {
    vi: ['mã còn hiệu lực khi có sự kiện', 'Mã đã đóng hoặc chưa mở; hãy hỏi mã kế thừa hoặc đơn vị vận hành trục.'],
    en: ['the code was in force at the event', 'The code was closed or not yet open; ask its successor or the axis operator.'],
  },
  'preamble-shown': {
    vi: ['có phần mở đầu gói tin', 'Không có gì cho biết gửi tới đâu; hãy yêu cầu bên gửi cung cấp biên nhận đầy đủ.'],
    en: ['the preamble is there', 'Nothing shows to whom it was sent; ask the sender for a complete receipt.'],
  },
  'preamble-form': {
    vi: ['phần mở đầu đúng định dạng', 'Phần mở đầu có thể hiểu nhiều cách; bên gửi phải sửa phần mềm.'],
    en: ['the preamble is well-formed', 'The preamble can be read in more than one way; the sender must correct its software.'],
  },
  'preamble-hash': {
    vi: ['phần mở đầu đúng với sự kiện', 'Phần mở đầu đã bị tráo; hãy yêu cầu biên nhận gốc.'],
    en: ['the preamble is the one that the event names', 'The preamble was exchanged; ask for the original receipt.'],
  },
  'preamble-domain': {
    vi: ['phần mở đầu và danh bạ cùng trục, cùng luồng', 'Gói tin của trục hoặc luồng khác bị dùng lại; không có giá trị chứng minh.'],
    en: ['preamble and directory are of one axis and lane', 'An envelope of another axis or lane was replayed here; it proves nothing.'],
  },
  'preamble-level': {
    vi: ['luồng được phép mang độ mật này', 'Độ mật này không được gửi qua luồng này; báo cáo theo quy định bảo vệ bí mật nhà nước.'],
    en: ['the lane may carry the secrecy level', 'This level must not travel here; report it under the state-secrets rules.'],
  },
  'preamble-envelope': {
    vi: ['phần mở đầu cùng gói tin', 'Phần mở đầu thuộc gói tin khác; không có giá trị chứng minh.'],
    en: ['the preamble is of the same envelope', 'The preamble is of another envelope; it proves nothing.'],
  },
  'preamble-sender': {
    vi: ['phần mở đầu ghi đúng bên gửi', 'Phần mở đầu ghi bên gửi khác; không chứng minh gì về bên gửi này.'],
    en: ['the preamble names the sender', 'The preamble names another sender; it proves nothing about this one.'],
  },
  'preamble-recipient': {
    vi: ['phần mở đầu ghi đúng bên nhận', 'Gói tin không gửi tới cơ quan đó; không chứng minh gì về cơ quan đó.'],
    en: ['the preamble names the recipient', 'The envelope was not addressed to that agency; it proves nothing about it.'],
  },
  'submission-recipients': {
    vi: ['mỗi bên nhận có đúng một phong bì khóa', 'Có bên đọc được mà không được ghi, hoặc ngược lại; bên gửi phải tạo gói tin mới.'],
    en: ['there is one key envelope for every recipient', 'Somebody not named could read it, or somebody named could not; the sender must make a new envelope.'],
  },
  'preamble-time': {
    vi: ['gói tin được tạo trước sự kiện', 'Sự kiện có trước gói tin; đồng hồ sai hoặc sự kiện bị dựng lên.'],
    en: ['the envelope was made before the event', 'The event is older than its envelope; a clock is wrong or the event is made up.'],
  },
  'signed-after': {
    vi: ['điểm chốt được ký sau sự kiện', 'Chữ ký có trước sự kiện mà nó bảo chứng; đồng hồ sai hoặc thời gian bị dựng lên.'],
    en: ['the checkpoint was signed after the event', 'The signature says it is older than the event that it covers; a clock is wrong or a time is made up.'],
  },
  'not-from-future': {
    vi: ['sự kiện đã xảy ra', 'Sự kiện ở tương lai so với đồng hồ máy này; chỉnh đồng hồ, nếu đúng thì không sử dụng.'],
    en: ['the event lies in the past', "The event lies ahead of this machine's clock; set the clock, or do not rely on it."],
  },
  'opening-commitment': {
    vi: ['phần mở cam kết đúng với nội dung đã cam kết', 'Phần mở cam kết thuộc nội dung khác; hãy yêu cầu biên nhận gốc.'],
    en: ['the opening belongs to the committed content', 'The opening is of other content; ask for the original receipt.'],
  },
  'manifest-form': {
    vi: ['danh mục nội dung đúng định dạng', 'Danh mục nội dung có thể hiểu nhiều cách; bên gửi phải sửa phần mềm.'],
    en: ['the manifest is well-formed', 'The manifest can be read in more than one way; the sender must correct its software.'],
  },
  'envelope-included': {
    vi: ['envelope.json có trong danh mục nội dung', 'envelope.json đã bị tráo; hãy yêu cầu biên nhận gốc.'],
    en: ['envelope.json stands in the manifest', 'envelope.json was exchanged; ask for the original receipt.'],
  },
  'envelope-form': {
    vi: ['envelope.json đúng định dạng', 'envelope.json có thể hiểu nhiều cách; bên gửi phải sửa phần mềm.'],
    en: ['envelope.json is well-formed', 'envelope.json can be read in more than one way; the sender must correct its software.'],
  },
  'envelope-preamble': {
    vi: ['nội dung đã ký ghi đúng phần mở đầu này', 'Văn bản ký cho gói tin khác bị đưa vào gói tin này; không có giá trị chứng minh ở đây.'],
    en: ['the signed content names this preamble', 'A document signed for another envelope was put into this one; it proves nothing here.'],
  },
  'envelope-fields': {
    vi: ['nội dung đã ký lặp đúng các trường của phần mở đầu', 'Bên ngoài và bên trong gói tin không thống nhất; bên gửi phải tạo gói tin mới.'],
    en: ["the signed content repeats the preamble's fields", 'Outside and inside of the envelope disagree; the sender must make a new one.'],
  },
  'envelope-recipients': {
    vi: ['nội dung đã ký ghi đúng các bên nhận', 'Văn bản được ký cho bên nhận khác; đã bị chuyển hướng.'],
    en: ['the signed content names the same recipients', 'The document was signed for other recipients; it was re-targeted.'],
  },
  document: {
    vi: ['văn bản đưa ra thuộc nội dung đã nhận', 'Văn bản đưa ra không thuộc nội dung này, hoặc biên nhận không kèm phần mở cam kết để đối chiếu.'],
    en: ['the document shown is part of what was received', 'The document shown is not part of it, or the receipt carries no opening to tell by.'],
  },
};
