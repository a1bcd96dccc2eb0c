//! What a program says of a command line that it does not understand, in English and in Vietnamese.

use std::{io::Write as _, process::ExitCode};

use clap::error::ErrorKind;

/// Exit code for bad usage (sysexits `EX_USAGE`).
const USAGE: u8 = 64;

/// Says what clap found and ends: help and version were asked for and are good, everything else is 64.
pub fn usage(error: &clap::Error) -> ExitCode {
    // Nothing can be said when the terminal itself is gone.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let said = usage_in_vietnamese(error.kind());
    let _ = writeln!(std::io::stderr(), "\n{said}; thêm `--help` sau lệnh để xem cách dùng.");
    ExitCode::from(USAGE)
}

/// clap speaks English alone; what it names stands above.
const fn usage_in_vietnamese(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::MissingRequiredArgument => "Lệnh thiếu tham số bắt buộc nêu ở trên",
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8 => {
            "Giá trị của tham số nêu ở trên không hợp lệ"
        }
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => "Không có lệnh hoặc tham số nêu ở trên",
        ErrorKind::ArgumentConflict => "Các tham số nêu ở trên không dùng cùng nhau",
        _ => "Lệnh chưa đúng; lý do ở trên",
    }
}
