//! The hosts file (hosts(5)).

use std::net::IpAddr;

/// Returns the addresses of `name` in `table`, in the order of its lines.
pub(super) fn lookup(table: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in table.lines() {
        let line = line.split('#').next().unwrap_or(line);
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else {
            continue;
        };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_aliases_and_comments() {
        let table = "127.0.0.1 localhost\n\
                     192.0.2.7\tRegistry.Test alias # other.test\n\
                     junk registry.test\n\
                     2001:db8::7 registry.test\n";
        let both: Vec<IpAddr> = vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        assert_eq!(lookup(table, "registry.test"), both);
        assert_eq!(lookup(table, "alias"), both[..1]);
        assert!(lookup(table, "other.test").is_empty());
    }
}
