//! Tells the program which compiler made it. Turns the hand-written part of etcd's API into a client, only for the feature
//! `peers` and without an installed protoc.

use std::error::Error;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let said = Command::new(std::env::var("RUSTC")?).arg("--version").output()?;
    println!("cargo::rustc-env=MARGATE_RUSTC={}", String::from_utf8(said.stdout)?.trim());
    compile_etcd()
}

#[cfg(feature = "peers")]
fn compile_etcd() -> Result<(), Box<dyn Error>> {
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
fn compile_etcd() -> Result<(), Box<dyn Error>> {
    Ok(())
}
