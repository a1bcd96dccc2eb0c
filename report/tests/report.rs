//! Reports as PDF tools read them: the text is there as it was given, each page is whole, nothing hides.
// `cfg(test)` is always on here; clippy knows test helpers by it.

#[cfg(test)]
#[path = "report/sample.rs"]
mod sample;
#[cfg(test)]
#[path = "../../node/tests/it/tools.rs"]
mod tools;

#[cfg(test)]
mod tests {
    use std::{path::Path, process::Command};

    use truc_certs_dev::{KeyKind, Pki, Profile, Request, Subject};
    use truc_proto::{
        Timestamp,
        limits::{REPORT_PAGES_MAX, REPORT_PARAGRAPH_BYTES_MAX, REPORT_TEXT_BYTES_MAX},
    };
    use truc_report::{Block, Language, Moment, Report, ReportError, SERIF, Table, Text, render, render_for_signature};
    use truc_signer::{PdfSignature, SignatureBox, SoftKey, sign_pdf};

    use crate::{
        sample::sample,
        tools::{python, tool},
    };

    fn report(blocks: Vec<Block>) -> Report {
        let created = Timestamp::from_unix_s(1_795_312_800);
        Report { title: "Thử".into(), footer: "Thử".into(), language: Language::Vietnamese, created, blocks }
    }

    /// Runs a program on the file; what it said.
    fn said_of(pdf: &[u8], program: &Path, arguments: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("report.pdf"), pdf).unwrap();
        let output = Command::new(program).args(arguments).current_dir(folder.path()).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// The text of each page, its lines and columns made one.
    fn pages(pdf: &[u8]) -> Option<Vec<String>> {
        let text = said_of(pdf, &tool("pdftotext")?, &["report.pdf", "-"]);
        let pages: Vec<_> =
            text.split('\u{c}').map(|page| page.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(pages.last().map(String::as_str), Some(""), "pdftotext ends each page with a form feed");
        Some(pages[..pages.len() - 1].to_vec())
    }

    #[test]
    fn the_sample_reads_as_it_was_written() {
        let pdf = render(&sample()).unwrap();
        if let Some(folder) = std::env::var_os("TRUC_REPORT_SAMPLE") {
            std::fs::write(Path::new(&folder).join("sample.pdf"), &pdf).unwrap();
        }
        let Some(pages) = pages(&pdf) else { return };
        let first = &pages[0];
        for words in [
            "BÁO CÁO KIỂM TRA BIÊN NHẬN VĂN BẢN ĐIỆN TỬ",
            "Ai đã nhận gì, khi nào, và có thể chối bỏ được không?",
            "Không. Cả 20 nơi nhận đều đã nhận đúng văn bản này",
            "Ủy ban nhân dân thành phố Hà Nội",
            "Quyết định số 1234/QĐ-UBND ngày 20/11/2026",
        ] {
            assert!(first.contains(words), "{words}: {first}");
        }
        assert!(!first.contains("PHỤ LỤC KỸ THUẬT"), "the first page is for the judge alone: {first}");
        assert!(pages[1].starts_with("PHỤ LỤC KỸ THUẬT"), "{}", pages[1]);
        let total = pages.len();
        for (index, page) in pages.iter().enumerate() {
            assert!(page.contains(&format!("Trang {}/{total}", index + 1)), "{page}");
            assert!(page.contains("Biên nhận của Quyết định số 1234/QĐ-UBND"), "{page}");
        }
        let whole = pages.join(" ");
        for receipt in 1..=20 {
            assert!(whole.contains(&format!("Sở Thử nghiệm số {receipt} – phường Nghĩa Đô")), "receipt {receipt}");
        }
        // Where the table goes on, its header stands again.
        let annex = &pages[1..];
        let with_rows = annex.iter().filter(|page| page.contains("Sở Thử nghiệm số")).count();
        let with_header = annex.iter().filter(|page| page.contains("Nơi nhận Sự kiện và thời điểm")).count();
        assert!(with_rows >= 2 && with_header == with_rows, "{with_header} of {with_rows}");
    }

    #[test]
    fn every_letter_of_vietnamese_comes_back_composed_from_all_three_fonts() {
        let vowels = "aăâeêioôơuưy";
        let tones = ['\u{300}', '\u{301}', '\u{303}', '\u{309}', '\u{323}'];
        let small: String = vowels.chars().flat_map(|v| tones.iter().map(move |tone| format!("{v}{tone} "))).collect();
        let letters = format!("{small}{} đ Đ", small.to_uppercase());
        let texts = [Text::plain(&letters), Text::strong(&letters), Text::mono(&letters)];
        let pdf = render(&report(texts.map(Block::Paragraph).to_vec())).unwrap();
        let Some(pages) = pages(&pdf) else { return };
        // pdftotext takes blanks between single letters for spacing, so they are left out on both sides.
        let close = |text: &str| text.split_whitespace().collect::<String>();
        let composed: String = unicode_normalization::UnicodeNormalization::nfc(letters.as_str()).collect();
        assert_eq!(close(&pages[0]).matches(&close(&composed)).count(), 3, "{}", pages[0]);
    }

    #[test]
    fn the_same_report_gives_the_same_bytes() {
        assert_eq!(render(&sample()).unwrap(), render(&sample()).unwrap());
    }

    #[test]
    fn the_file_is_sound_carries_its_fonts_and_says_what_it_is() {
        let pdf = render(&sample()).unwrap();
        let (Some(qpdf), Some(pdffonts), Some(pdfinfo)) = (tool("qpdf"), tool("pdffonts"), tool("pdfinfo")) else {
            return;
        };
        let check = said_of(&pdf, &qpdf, &["--check", "report.pdf"]);
        assert!(check.contains("No syntax or stream encoding errors found"), "{check}");
        let fonts = said_of(&pdf, &pdffonts, &["report.pdf"]);
        for font in ["LiberationSerif ", "LiberationSerif-Bold", "LiberationMono"] {
            let line = fonts.lines().find(|line| line.contains(font)).unwrap_or_else(|| panic!("{font}: {fonts}"));
            // Embedded, subset, with a way back to letters.
            assert!(line.contains("yes yes yes"), "{line}");
        }
        let info = said_of(&pdf, &pdfinfo, &["report.pdf"]);
        for line in ["Báo cáo kiểm tra biên nhận văn bản điện tử", "Tagged:          yes", "(A4)"] {
            assert!(info.to_lowercase().contains(&line.to_lowercase()), "{line}: {info}");
        }
        let metadata = said_of(&pdf, &pdfinfo, &["-meta", "report.pdf"]);
        assert!(metadata.contains("<pdfaid:part>2</pdfaid:part>"), "{metadata}");
    }

    #[test]
    fn names_that_would_hide_or_turn_letters_show_what_they_are() {
        let name = "Sở \u{202e}gpj.exe\u{202c}\u{200b} A\u{0}\n\u{7}B e\u{302}\u{323}\u{308} שלום 語 \u{e000}\u{feff}";
        let table = Table { columns: vec![(name.into(), 1)], rows: vec![vec![name.into()]] };
        let blocks = vec![
            Block::Heading(name.into()),
            Block::Paragraph(name.into()),
            Block::Lines(vec![name.into()]),
            Block::Facts(vec![(name.into(), name.into())]),
            Block::Timeline(vec![Moment { time: name.into(), what: name.into() }]),
            Block::Table(table),
        ];
        let pdf = render(&Report { title: name.into(), footer: name.into(), ..report(blocks) }).unwrap();
        let Some(pages) = pages(&pdf) else { return };
        let shown = "[U+202E]gpj.exe[U+202C][U+200B]";
        assert!(pages[0].matches(shown).count() >= 5, "{}", pages[0]);
        for mark in ["A[U+0000][U+000A][U+0007]B", "ệ[U+0308]", "[U+05E9]", "[U+8A9E]", "[U+E000][U+FEFF]"] {
            assert!(pages[0].contains(mark), "{mark}: {}", pages[0]);
        }
        let metadata = said_of(&pdf, &tool("pdfinfo").unwrap(), &["-meta", "report.pdf"]);
        assert!(metadata.contains(shown) && metadata.contains("A[U+0000]"), "{metadata}");
        let hidden = |letter: char| letter.is_control() || "\u{202e}\u{202c}\u{200b}\u{feff}".contains(letter);
        assert!(!pages.concat().contains(hidden));
    }

    #[test]
    fn a_row_higher_than_a_page_goes_on_under_the_header_and_loses_nothing() {
        let long: String = (0..2_000).map(|number| format!("w{number} ")).collect();
        let table = Table {
            columns: vec![("Mục".into(), 1), ("Nội dung".into(), 3)],
            rows: vec![
                vec!["đầu".into(), "ngắn".into()],
                vec!["dài".into(), long.into()],
                vec!["cuối".into(), "x".into()],
            ],
        };
        let pdf = render(&report(vec![Block::Table(table)])).unwrap();
        let Some(pages) = pages(&pdf) else { return };
        assert!(pages.len() >= 3, "{}", pages.len());
        assert!(pages.iter().all(|page| page.contains("Mục Nội dung")));
        let words: Vec<String> =
            pages.join(" ").split(' ').filter(|word| word.starts_with('w')).map(Into::into).collect();
        assert_eq!(words, (0..2_000).map(|number| format!("w{number}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_time_stays_with_its_zone_and_a_hash_on_its_line() {
        let time = "20/11/2026 08:31:15 +07:00";
        let facts = (1..40).map(|n| (String::new(), Text::plain("i".repeat(n * 3)).and(" ").and(time))).collect();
        let hash = "0123456789abcdef".repeat(4);
        let pdf = render(&report(vec![Block::Facts(facts), Block::Facts(vec![("Mã băm".into(), Text::mono(&hash))])]));
        let Some(pdftotext) = tool("pdftotext") else { return };
        let text = said_of(&pdf.unwrap(), &pdftotext, &["-layout", "report.pdf", "-"]);
        assert_eq!(text.matches("08:31:15 +07:00").count(), 39, "{text}");
        assert!(text.contains(&hash), "{text}");
    }

    #[test]
    fn a_word_wider_than_its_cell_is_broken_and_stays_inside() {
        let hash = "0123456789abcdef".repeat(4);
        let table =
            Table { columns: vec![("a".into(), 1), ("b".into(), 9)], rows: vec![vec![Text::mono(&hash), "b".into()]] };
        let pdf = render(&report(vec![Block::Table(table)])).unwrap();
        let Some(pages) = pages(&pdf) else { return };
        let joined: String = pages[0].split(' ').filter(|word| word.chars().all(|c| c.is_ascii_hexdigit())).collect();
        assert!(joined.contains(&hash), "{}", pages[0]);
    }

    /// What pyHanko finds of the first signature; whom it trusts is not asked here.
    const PYHANKO: &str = "from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
reader = PdfFileReader(open('report.pdf', 'rb'), strict=True)
status = validate_pdf_signature(reader.embedded_signatures[0])
print(status.intact, status.valid, status.coverage.name)";

    #[test]
    fn a_report_signs_and_its_signature_holds() {
        let mut blocks = sample().blocks;
        blocks.push(Block::SignatureSpace(60.0));
        let (pdf, place) = render_for_signature(&Report { blocks, ..sample() }).unwrap();
        let place = place.unwrap();
        let now = Timestamp::from_unix_s(truc_certs_dev::now().unix_s());
        let pki = Pki::new(KeyKind::P256, now).unwrap();
        let subject = Subject::new("UBND THÀNH PHỐ HÀ NỘI").organization("UBND thành phố Hà Nội");
        let issued = pki.issue_with(Request::new(Profile::Service, KeyKind::P256, subject)).unwrap();
        let key = SoftKey::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap();
        let visible = SignatureBox {
            page: place.page,
            left_pt: place.left_pt,
            bottom_pt: place.bottom_pt,
            width_pt: place.width_pt,
            height_pt: place.height_pt,
            lines: vec![
                "Ký số bởi: ỦY BAN NHÂN DÂN THÀNH PHỐ HÀ NỘI".into(),
                format!("Thời gian ký: {}", now.in_vietnam()),
            ],
            font: SERIF,
        };
        for visible in [None, Some(visible)] {
            let seen = visible.is_some();
            let signed = sign_pdf(&pdf, &key, &PdfSignature { visible, ..PdfSignature::default() }, now).unwrap();
            assert!(signed.starts_with(&pdf));
            if let Some(folder) = std::env::var_os("TRUC_REPORT_SAMPLE").filter(|_| seen) {
                std::fs::write(Path::new(&folder).join("signed.pdf"), &signed).unwrap();
            }
            let (Some(pdfsig), Some(qpdf), Some(python)) = (tool("pdfsig"), tool("qpdf"), python("pyhanko.sign"))
            else {
                return;
            };
            let said = said_of(&signed, &python, &["-c", PYHANKO]);
            assert!(said.starts_with("True True ENTIRE_FILE"), "{said}");
            let said = said_of(&signed, &pdfsig, &["-nocert", "report.pdf"]);
            assert!(said.contains("Signature is Valid.") && said.contains("Total document signed"), "{said}");
            let check = said_of(&signed, &qpdf, &["--check", "report.pdf"]);
            assert!(check.contains("No syntax or stream encoding errors found"), "{check}");
            let text = pages(&signed).unwrap().join(" ");
            assert_eq!(text.contains("Ký số bởi: ỦY BAN NHÂN DÂN THÀNH PHỐ HÀ NỘI"), seen);
        }
    }

    #[test]
    fn what_is_too_large_or_without_sense_is_refused() {
        let table = |columns: usize, cells: usize| {
            let columns = (0..columns).map(|_| (String::new(), 1)).collect();
            render(&report(vec![Block::Table(Table { columns, rows: vec![vec![Text::default(); cells]] })]))
        };
        assert!(matches!(table(0, 0), Err(ReportError::Table { .. })));
        assert!(matches!(table(13, 13), Err(ReportError::Table { .. })));
        assert!(matches!(table(2, 3), Err(ReportError::Table { .. })));
        assert!(table(12, 12).is_ok());
        let long = vec![Block::Heading("x".repeat(REPORT_PARAGRAPH_BYTES_MAX + 1))];
        assert!(matches!(render(&report(long)), Err(ReportError::LongParagraph { .. })));
        let many = vec![Block::Lines(vec![String::new(); REPORT_TEXT_BYTES_MAX])];
        assert!(matches!(render(&report(many)), Err(ReportError::TooMuchText { .. })));
        // The longest cells in the narrowest columns, all of letters that are shown by their number.
        let cell = Text::plain("\u{1}".repeat(REPORT_PARAGRAPH_BYTES_MAX));
        let columns = (0..12).map(|_| (String::new(), 1)).collect();
        let narrow = Block::Table(Table { columns, rows: vec![vec![cell; 12]; 15] });
        assert!(matches!(render(&report(vec![narrow])), Err(ReportError::TooManyPages { .. })));
        let heads = (0..=REPORT_PAGES_MAX).flat_map(|_| [Block::Paragraph("x".into()), Block::PageBreak]).collect();
        assert!(matches!(render(&report(heads)), Err(ReportError::TooManyPages { .. })));
        for spaces in [vec![1_000.0], vec![f32::NAN], vec![20.0, 20.0]] {
            let blocks = spaces.into_iter().map(Block::SignatureSpace).collect();
            assert!(matches!(render(&report(blocks)), Err(ReportError::SignatureSpace)));
        }
    }

    #[test]
    fn an_empty_report_is_a_page_with_a_footer() {
        let pdf = render(&Report { title: String::new(), language: Language::English, ..report(Vec::new()) }).unwrap();
        let Some(pages) = pages(&pdf) else { return };
        assert_eq!(pages, ["Thử Page 1 of 1"]);
    }
}
