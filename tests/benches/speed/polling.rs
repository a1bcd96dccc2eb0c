//! What document systems of the axis SDK cost that ask every five seconds whether something came: 200 of them, each with its own secret, each asking
//! for documents and for statuses over a connection of its own, as the vendor's client does. In per cent of one core.
//!
//! The systems ask from a process of their own, so that what they themselves take is not counted; the relay's and another node's idling is.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
};

use anyhow::{Context, ensure};
use ring::hmac;
use serde_json::{Map, Value, json};
use truc_proto::node_v1::send_reply;
use truc_tests::{
    network::{Layout, Network, client::Document},
    wait::PATIENCE,
};

use crate::{
    end_to_end::settled,
    report::{Figure, Report, Target, scaled, short},
};

const SYSTEMS: u64 = 200;
const EVERY_S: f64 = 5.0;
const CORE_PERCENT: f64 = 5.0;
/// Documents that wait for each code.
const WAITING: u64 = 5;
const CODES: u64 = 20;
const PATH: &str = "/api/v1";
/// Set for the process that asks: address, rounds, and systems with their secrets.
const ASKS: &str = "TRUC_BENCH_POLLING";
/// Ticks of `/proc/self/stat` in a second: what Linux tells programs, whatever its own timer does.
const TICKS_PER_S: f64 = 100.0;

/// The process that asks: does, says how often, and is done.
pub(crate) fn asked() -> anyhow::Result<bool> {
    let Some(told) = env::var_os(ASKS) else { return Ok(false) };
    let told: Value = serde_json::from_str(&told.to_string_lossy())?;
    let address: SocketAddr = text(&told, "address")?.parse()?;
    let rounds = number(&told, "rounds")?;
    let systems = told.get("systems").and_then(Value::as_array).context("systems")?;
    let mut calls = 0_u64;
    for _ in 0..rounds {
        for system in systems {
            let (name, secret) = (text(system, "name")?, text(system, "secret")?);
            for message in ["edoc", "status"] {
                ask(address, name, secret, message)?;
                calls += 1;
            }
        }
    }
    println!("{}", json!({ "calls": calls }));
    Ok(true)
}

fn text<'a>(value: &'a Value, name: &str) -> anyhow::Result<&'a str> {
    value.get(name).and_then(Value::as_str).context("a field is missing")
}

fn number(value: &Value, name: &str) -> anyhow::Result<u64> {
    value.get(name).and_then(Value::as_u64).context("a number is missing")
}

/// One getReceivedEdocList.
fn ask(address: SocketAddr, system: &str, secret: &str, message: &str) -> anyhow::Result<()> {
    let fields = [
        ("systemid", system),
        ("timestamp", "01012020T073009+0983"),
        ("servicetype", "eDoc"),
        ("messagetype", message),
    ];
    let signed: Map<String, Value> =
        fields.iter().map(|(name, value)| (format!("XroadVnpt-{name}"), Value::from(*value))).collect();
    let signed = Value::Object(signed).to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let hash = data_encoding::HEXLOWER.encode(hmac::sign(&key, signed.as_bytes()).as_ref());
    let mut request = format!("POST {PATH}/getReceivedEdocList HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in fields {
        request.push_str(&format!("XroadVnpt-{name}: {value}\r\n"));
    }
    request.push_str(&format!(
        "XroadVnpt-sign-header: {signed}\r\nXroadVnpt-hash-header: {hash}\r\nContent-Length: 0\r\n\r\n"
    ));
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(answer.contains("\"status\":\"OK\""), "refused: {answer}");
    Ok(())
}

pub(crate) fn run(report: &mut Report) -> anyhow::Result<()> {
    if fs::metadata("/proc/self/stat").is_err() {
        report.skip("polling", "a process's time is read from /proc, which this system has not");
        return Ok(());
    }
    let systems = scaled(SYSTEMS, 10);
    let runtime = tokio::runtime::Runtime::new()?;
    let (cpu_s, calls) = runtime.block_on(measure(systems, scaled(10, 1)))?;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let (calls, all) = (calls as f64, SYSTEMS as f64);
    // Two calls are one look of a system.
    let looks_per_s = all / EVERY_S;
    report.add(Figure {
        id: "polling",
        what: format!("{SYSTEMS} SDK clients that ask every 5 s"),
        value: cpu_s / calls * 2.0 * looks_per_s * 100.0,
        unit: "% core",
        target: Some(Target::AtMost(CORE_PERCENT)),
        from: vec![
            ("a call", format!("{} µs", short(cpu_s / calls * 1e6))),
            ("calls", short(calls)),
            ("systems", systems.to_string()),
        ],
    });
    Ok(())
}

/// Seconds of this process's time, and calls.
async fn measure(systems: u64, rounds: u64) -> anyhow::Result<(f64, u64)> {
    let codes: Vec<String> = (1..=CODES).map(|number| format!("H26.{number}")).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    let network = Network::make(Layout::new(&[("N-G22", &["G22"]), ("N-H26", &codes)]).with_sdk(PATH)).await;
    let mut told = Vec::new();
    for (number, code) in (0..systems).zip(codes.iter().cycle()) {
        let name = format!("system-{number}");
        let secret = network.add_system("N-H26", &name, &[code]);
        told.push(json!({ "name": name, "secret": secret }));
    }
    network.start_all().await;
    let mut client = network.client("G22");
    for number in 0..WAITING {
        let reply = client.send(&Document::new(&format!("waiting-{number}"), "G22", &codes, 10_000)).await?;
        ensure!(reply.state() == send_reply::State::Accepted, "not accepted: {reply:?}");
    }
    settled(&client).await?;
    let address = network.sdk_address("N-H26");
    let poll = move |rounds: u64| {
        let told = json!({ "address": address.to_string(), "rounds": rounds, "systems": told });
        let asking = Command::new(env::current_exe()?).env(ASKS, told.to_string()).output()?;
        ensure!(asking.status.success(), "{}", String::from_utf8_lossy(&asking.stderr));
        let said: Value = serde_json::from_slice(&asking.stdout).context("what the asking process says")?;
        number(&said, "calls")
    };
    let measured = tokio::task::spawn_blocking(move || {
        poll(1)?; // secrets are read, threads are there
        let before = own_seconds()?;
        let calls = poll(rounds)?;
        anyhow::Ok((own_seconds()? - before, calls))
    });
    let measured = measured.await??;
    network.stop().await;
    Ok(measured)
}

/// User and system time of this process's threads.
pub(crate) fn own_seconds() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // Behind the name in parentheses: state is field 3, utime 14, stime 15.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("a field of /proc/self/stat");
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_S)
}
