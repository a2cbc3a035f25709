//! Capabilities: the default set, changed by `--cap-add`, `--cap-drop` and `--privileged`.

use std::collections::HashSet;

use lamina_runtime::spec_default;
use oci_spec::runtime::{Capabilities, Capability};

use crate::request::IsolationRequest;
use crate::spec::SpecError;

/// Returns the bounding set that Docker would give.
///
/// `known` are the capabilities this host can give at all: `ALL` means those, since asking the
/// kernel for one that we lack ourselves fails.
pub(crate) fn plan(
    isolation: &IsolationRequest,
    default: &HashSet<Capability>,
    known: &HashSet<Capability>,
) -> Result<Capabilities, SpecError> {
    if isolation.privileged {
        return Ok(known.clone());
    }
    let (add_all, add) = parse(&isolation.cap_add)?;
    let (drop_all, drop) = parse(&isolation.cap_drop)?;
    let mut set = match (add_all, drop_all) {
        (true, _) => known.clone(),
        (false, true) => HashSet::new(),
        (false, false) => default.clone(),
    };
    set.retain(|cap| !drop.contains(cap));
    // An explicit addition wins over `--cap-drop ALL`, and over nothing else.
    set.extend(add.into_iter().filter(|cap| !drop.contains(cap)));
    Ok(set)
}

/// Splits `ALL` from the names, which may carry `CAP_` and any case.
fn parse(names: &[String]) -> Result<(bool, HashSet<Capability>), SpecError> {
    let mut all = false;
    let mut set = HashSet::new();
    for name in names {
        if name.eq_ignore_ascii_case("ALL") {
            all = true;
            continue;
        }
        let cap = spec_default::parse_capability(name)
            .ok_or_else(|| SpecError::Capability(name.chars().take(80).collect()))?;
        set.insert(cap);
    }
    Ok((all, set))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(add: &[&str], drop: &[&str], privileged: bool) -> Result<String, SpecError> {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let isolation = IsolationRequest {
            cap_add: own(add),
            cap_drop: own(drop),
            privileged,
            ..IsolationRequest::default()
        };
        let default = [Capability::Chown, Capability::Kill].into();
        let known = [Capability::Chown, Capability::Kill, Capability::SysAdmin].into();
        let mut names: Vec<String> = plan(&isolation, &default, &known)?
            .iter()
            .map(ToString::to_string)
            .collect();
        names.sort();
        Ok(names.join(" "))
    }

    #[test]
    fn adding_and_dropping_follow_docker() {
        for (add, drop, privileged, expected) in [
            (&[][..], &[][..], false, "CHOWN KILL"),
            (&["SYS_ADMIN"], &[], false, "CHOWN KILL SYS_ADMIN"),
            (&["cap_sys_admin"], &["kill"], false, "CHOWN SYS_ADMIN"),
            (&["ALL"], &[], false, "CHOWN KILL SYS_ADMIN"),
            (&["all"], &["CHOWN"], false, "KILL SYS_ADMIN"),
            (&[], &["ALL"], false, ""),
            (&["NET_RAW"], &["ALL"], false, "NET_RAW"),
            (&[], &["ALL"], true, "CHOWN KILL SYS_ADMIN"),
        ] {
            assert_eq!(sorted(add, drop, privileged).unwrap(), expected);
        }
        for bad in ["", "CAP_", "ADMIN", "CAP_CAP_KILL", "kill "] {
            assert!(sorted(&[bad], &[], false).is_err(), "{bad:?}");
        }
    }
}
