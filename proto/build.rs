//! Compiles the gRPC schema in Rust alone: protox reads the files, tonic-prost-build writes the code. No protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "truc/wire/v1/wire.proto",
        "truc/relay/v1/relay.proto",
        "truc/node/v1/node.proto",
        "truc/node/v1/oversight.proto",
        "truc/node/v1/administration.proto",
    ];
    let descriptors = protox::compile(files, ["proto"])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("truc.descriptors"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
