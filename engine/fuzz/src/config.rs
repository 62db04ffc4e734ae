//! Seeds of the configuration target; what it runs is in `targets/config.rs`, with the sources of the binary that reads it.

/// The README's configuration, and files that are wrong in one place.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let readme = include_str!("../../../README.md");
    let shown = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let mut seeds = vec![shown.expect("the README shows a configuration")];
    seeds.extend([
        "[node]\nid = 1\ndata = \"d\"\n[cluster]\nnodes = [{ id = 1, cores = [\"127.0.0.1:1\", \"[::1]:2\"] }]\nbounds = [\"0xff\", \"b64:/w==\"]\n",
        "[raft]\ntick = \"20ms\"\nelecton = \"1s\"\n",
        "[log]\nlevel = \"debug\"\nformat = \"xml\"\n[storage]\nsegment_size = \"8MiB\"\nindex_map_size = \"1TiB\"\n",
        "[cluster]\nshards = 65536\nreplication = 3\n[node]\ncpus = [0, 1]\npin = false\nvolatile = true\n",
    ]);
    seeds.into_iter().map(|text| text.as_bytes().to_vec()).collect()
}
