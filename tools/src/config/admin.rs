//! Looking at a running node: where it answers, and what it tells unasked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use margate_net::limits::ADMIN_PORT;

use super::settings::{ConfigError, duration, value};

const OFF: &str = "off";
const STALL: &str = "50ms";
/// Milliseconds for which a core may hear nobody before it is told, at most.
const STALL_MS_MAX: u128 = 60_000;

/// Where the admin listener binds: as given, nowhere, or on loopback at a fixed distance from the first core, whose block of ports has a
/// place for it. `cores` are the addresses that the node's cores bind.
pub(super) fn listen(given: Option<&str>, cores: &[SocketAddr]) -> Result<Option<SocketAddr>, ConfigError> {
    let refuse = |given: &str, problem: &str| value("admin.listen", given, problem);
    let address = match given {
        Some(OFF) => return Ok(None),
        Some(text) => text
            .parse()
            .map_err(|_| refuse(text, "write an address as IP:PORT, like 127.0.0.1:7490, or off"))?,
        None => {
            let Some(first) = cores.first() else { return Ok(None) };
            let port = first.port().checked_add(ADMIN_PORT);
            let port = port.ok_or_else(|| refuse("not set", "there is no port 90 above the first core's; set an address, or off"))?;
            let ip = Some(first.ip()).filter(IpAddr::is_loopback);
            SocketAddr::new(ip.unwrap_or(Ipv4Addr::LOCALHOST.into()), port)
        }
    };
    if cores.contains(&address) {
        return Err(refuse(
            &address.to_string(),
            "a core of this node listens there; set another address, or off",
        ));
    }
    Ok(Some(address))
}

/// Milliseconds for which a core may hear nobody before that is counted and told; 0 for ever.
pub(super) fn stall_ms(given: Option<&str>) -> Result<u32, ConfigError> {
    let text = given.unwrap_or(STALL);
    if text == OFF {
        return Ok(0);
    }
    let millis = duration("admin.stall", text)?.as_millis();
    u32::try_from(millis)
        .ok()
        .filter(|millis| (1..=STALL_MS_MAX).contains(&u128::from(*millis)))
        .ok_or_else(|| value("admin.stall", text, "it must be between 1ms and 60s, or off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(given: Option<&str>, cores: &[&str]) -> Result<Option<String>, String> {
        let cores: Vec<SocketAddr> = cores.iter().map(|core| core.parse().expect("an address")).collect();
        let found = listen(given, &cores).map(|found| found.map(|address| address.to_string()));
        found.map_err(|error| error.to_string())
    }

    #[test]
    fn it_is_in_the_block_of_ports_of_its_node_and_on_loopback() {
        let found = |cores: &[&str]| at(None, cores).expect("a port");
        assert_eq!(found(&["127.0.0.1:7500", "127.0.0.1:7501"]).as_deref(), Some("127.0.0.1:7590"));
        assert_eq!(found(&["[::1]:7400"]).as_deref(), Some("[::1]:7490"));
        assert_eq!(found(&["10.0.0.7:7400"]).as_deref(), Some("127.0.0.1:7490"));
        assert!(
            at(None, &["127.0.0.1:65500"])
                .expect_err("there is no such port")
                .contains("set an address, or off")
        );
        assert!(
            at(None, &["127.0.0.1:7400", "127.0.0.1:7490"])
                .expect_err("it is taken")
                .contains("a core of this node")
        );
    }

    #[test]
    fn it_can_be_elsewhere_or_nowhere() {
        let cores = ["127.0.0.1:7400"];
        assert_eq!(at(Some("off"), &cores), Ok(None));
        assert_eq!(at(Some("127.0.0.2:0"), &cores), Ok(Some("127.0.0.2:0".to_owned())));
        assert!(at(Some("7490"), &cores).expect_err("no address").contains("IP:PORT"));
        assert!(at(Some("127.0.0.1:7400"), &cores).is_err());
    }

    #[test]
    fn stalls_are_told_unless_that_is_off() {
        assert_eq!(stall_ms(None).expect("the default"), 50);
        assert_eq!(stall_ms(Some("off")).expect("off"), 0);
        assert_eq!(stall_ms(Some("2s")).expect("a span"), 2_000);
        for wrong in ["0ms", "2m", "50"] {
            assert!(stall_ms(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
