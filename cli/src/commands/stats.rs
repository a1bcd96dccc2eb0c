//! `truc stats`: what was sent and received, by agency and day.

use serde_json::{Value, json};
use truc_node::statistics;
use truc_proto::node_v1::{StatisticsRequest, StatisticsRow};

use crate::{
    args::StatsArgs,
    client::{block_on, connect, failed},
    exit::{Exit, ExitContext as _, Outcome},
    output::Output,
    partial::write_new,
};

pub(crate) fn run(args: &StatsArgs, output: &Output) -> Outcome {
    let rows = block_on(async {
        let mut node = connect(&args.node).await?;
        let request = StatisticsRequest {
            from: args.from.to_string(),
            to: args.to.to_string(),
            code: args.code.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        let refused = |status: tonic::Status| failed("make statistics", &status);
        let mut stream = node.statistics(request).await.map_err(refused)?.into_inner();
        let mut rows = Vec::new();
        while let Some(row) = stream.message().await.map_err(refused)? {
            rows.push(row);
        }
        Ok(rows)
    })?;
    if let Some(file) = &args.csv {
        write_new(file, statistics::write_csv(&rows).as_bytes())?;
    }
    if let Some(file) = &args.xlsx {
        let bytes = statistics::write_xlsx(&rows).or_exit(Exit::Unavailable, "put the workbook together")?;
        write_new(file, &bytes)?;
    }
    let value = json!(rows.iter().map(row_json).collect::<Vec<_>>());
    output.show(&value, |o| {
        let files: Vec<_> = args.csv.iter().chain(&args.xlsx).collect();
        for file in &files {
            o.line(format!("{} rows in {}", rows.len(), file.display()));
        }
        if files.is_empty() {
            table(&rows, o);
        }
    });
    Ok(Exit::Good)
}

fn table(rows: &[StatisticsRow], output: &Output) {
    let shown = |row: &StatisticsRow| {
        [
            row.day.clone(),
            row.code.clone(),
            format!("{} → {}", row.sent_documents, row.sent_recipients),
            row.sent_handed_over.to_string(),
            row.sent_unsent.to_string(),
            row.sent_failed.to_string(),
            row.sent_returned.to_string(),
            row.recipients_late.to_string(),
            row.received_documents.to_string(),
            row.received_handed_over.to_string(),
            row.received_refused.to_string(),
            row.received_late.to_string(),
        ]
    };
    let header =
        ["NGÀY", "MÃ", "ĐI", "ĐÃ NHẬN", "CHƯA GỬI", "LỖI", "TRẢ LẠI", "CHẬM", "ĐẾN", "TIẾP NHẬN", "TỪ CHỐI", "TRỄ"];
    let rows: Vec<_> = rows.iter().map(shown).collect();
    output.table(header, &rows, "no documents on these days / Không có văn bản nào trong các ngày này");
}

fn row_json(row: &StatisticsRow) -> Value {
    json!({
        "day": row.day, "code": row.code, "agency_name": row.agency_name, "sent_documents": row.sent_documents,
        "sent_recipients": row.sent_recipients, "sent_urgent": row.sent_urgent, "sent_bytes": row.sent_bytes,
        "sent_handed_over": row.sent_handed_over, "sent_failed": row.sent_failed, "sent_returned": row.sent_returned,
        "sent_withdrawn": row.sent_withdrawn, "sent_unsent": row.sent_unsent, "sent_late": row.sent_late,
        "recipients_late": row.recipients_late, "sent_handover_s": row.sent_handover_s,
        "received_documents": row.received_documents, "received_urgent": row.received_urgent,
        "received_bytes": row.received_bytes, "received_handed_over": row.received_handed_over,
        "received_refused": row.received_refused, "received_failed": row.received_failed,
        "received_withdrawn": row.received_withdrawn, "received_late": row.received_late,
        "statuses_sent": row.statuses_sent, "received_handover_s": row.received_handover_s,
    })
}
