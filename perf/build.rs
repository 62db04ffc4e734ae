//! Turns the hand-written part of etcd's API into a client, only for the feature `peers` and without an
//! installed protoc.

#[cfg(feature = "peers")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/etcd.proto");
    let descriptors = protox::compile(["etcd.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}

#[cfg(not(feature = "peers"))]
fn main() {}
