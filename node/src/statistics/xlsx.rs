//! The same table as an Excel workbook: days and agencies on the first sheet, agencies alone on the second.

use rust_xlsxwriter::{Format, FormatAlign, Workbook, Worksheet};
use truc_proto::node_v1::StatisticsRow;

use super::table::{COLUMNS, Cell, totals};

/// The workbook could not be put together.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the workbook")]
pub struct XlsxError(#[from] rust_xlsxwriter::XlsxError);

/// The workbook's bytes.
///
/// # Errors
/// When it cannot be put together.
pub fn write(rows: &[StatisticsRow]) -> Result<Vec<u8>, XlsxError> {
    let mut workbook = Workbook::new();
    let days = workbook.add_worksheet();
    days.set_name("Theo ngày")?;
    sheet(days, rows, 0)?;
    let whole = workbook.add_worksheet();
    whole.set_name("Theo cơ quan")?;
    sheet(whole, &totals(rows), 1)?;
    Ok(workbook.save_to_buffer()?)
}

/// Without its first columns, where they say nothing.
fn sheet(sheet: &mut Worksheet, rows: &[StatisticsRow], without: usize) -> Result<(), XlsxError> {
    let heading = Format::new().set_bold().set_text_wrap().set_align(FormatAlign::VerticalCenter);
    let columns = || (0_u16..).zip(COLUMNS.iter().skip(without));
    for (at, (name, _)) in columns() {
        sheet.write_string_with_format(0, at, *name, &heading)?;
        let width = if name.starts_with("Tên") { 40.0 } else { 14.0 };
        sheet.set_column_width(at, width)?;
    }
    for (line, row) in (1_u32..).zip(rows) {
        for (at, (_, cell)) in columns() {
            match cell(row) {
                // As text, never as a formula, whatever it begins with.
                Cell::Text(text) => sheet.write_string(line, at, text)?,
                #[expect(clippy::cast_precision_loss, reason = "Excel's numbers are these")]
                Cell::Number(number) => sheet.write_number(line, at, number as f64)?,
            };
        }
    }
    sheet.set_freeze_panes(1, 0)?;
    let last =
        (u32::try_from(rows.len()).unwrap_or(u32::MAX), u16::try_from(COLUMNS.len() - without - 1).unwrap_or(u16::MAX));
    sheet.autofilter(0, 0, last.0, last.1)?;
    Ok(())
}
