//! From a reference's domain to the places it is fetched from, and the rules for each host.

use std::path::PathBuf;
use std::sync::Arc;

use lamina_types::Reference;

use crate::config::{ClientConfig, Mirror, RegistryConfig};
use crate::error::FetchError;
use crate::url::{Scheme, Url, is_loopback_host};

/// Docker Hub's name in references, and the host that serves it.
const DOCKER_DOMAIN: &str = "docker.io";
const DOCKER_HOST: &str = "registry-1.docker.io";
const DOCKER_TOKEN_HOST: &str = "auth.docker.io";

/// One place that a repository may be fetched from: a mirror, or the registry itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `host[:port]`, in lower case, as connections go to it.
    pub(crate) authority: String,
    /// What its credentials are kept under.
    pub(crate) credential_key: String,
    /// What comes before the repository's path: empty, or ends with a slash.
    pub(crate) prefix: String,
    /// The schemes to try, in this order.
    pub(crate) schemes: Vec<Scheme>,
    /// The registry that `?ns=` names.
    pub(crate) namespace: Option<String>,
    /// Hosts that may have its credentials besides its own.
    pub(crate) token_servers: Vec<String>,
    /// Whether this is a mirror.
    pub(crate) is_mirror: bool,
}

impl Endpoint {
    /// Returns the repository's path here.
    pub(crate) fn repository(&self, reference: &Reference) -> String {
        format!("{}{}", self.prefix, reference.path())
    }

    /// Says whether anything but verified https may be used.
    pub(crate) fn allows_http(&self) -> bool {
        self.schemes.contains(&Scheme::Http)
    }
}

/// What the configuration says about hosts.
#[derive(Debug)]
pub(crate) struct HostRules {
    config: Arc<ClientConfig>,
}

impl HostRules {
    pub(crate) fn new(config: Arc<ClientConfig>) -> Self {
        Self { config }
    }

    /// Returns where to fetch `reference` from, mirrors first.
    pub(crate) fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, FetchError> {
        let domain = reference.domain();
        let registry = self.config.registries.get(domain);
        if registry.is_some_and(|registry| registry.blocked) {
            return Err(FetchError::Blocked {
                host: domain.to_owned(),
            });
        }
        let mut endpoints = Vec::new();
        for mirror in registry.map(|r| r.mirrors.as_slice()).unwrap_or_default() {
            endpoints.push(self.mirror(mirror, domain)?);
        }
        endpoints.push(self.origin(domain, registry)?);
        Ok(endpoints)
    }

    /// Returns the registry itself: what is pushed goes to no mirror.
    pub(crate) fn registry(&self, reference: &Reference) -> Result<Endpoint, FetchError> {
        let mut endpoints = self.endpoints(reference)?;
        endpoints
            .pop()
            .ok_or_else(|| bad_address(reference.domain()))
    }

    fn origin(
        &self,
        domain: &str,
        registry: Option<&RegistryConfig>,
    ) -> Result<Endpoint, FetchError> {
        let mut token_servers = registry
            .map(|registry| registry.token_servers.clone())
            .unwrap_or_default();
        let host = if domain == DOCKER_DOMAIN {
            token_servers.push(DOCKER_TOKEN_HOST.to_owned());
            DOCKER_HOST
        } else {
            domain
        };
        let authority = checked_authority(host)?;
        let insecure = registry.and_then(|registry| registry.insecure);
        Ok(Endpoint {
            schemes: self.schemes(&authority, insecure),
            authority,
            credential_key: domain.to_owned(),
            prefix: String::new(),
            namespace: None,
            token_servers,
            is_mirror: false,
        })
    }

    fn mirror(&self, mirror: &Mirror, domain: &str) -> Result<Endpoint, FetchError> {
        let (forced, rest) = match mirror.location.split_once("://") {
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            Some(_) => return Err(bad_address(&mirror.location)),
            None => (None, mirror.location.as_str()),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_matches('/');
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/');
        let dotted = path.split('/').any(|part| matches!(part, "." | ".."));
        if !path.bytes().all(plain) || dotted || path.contains("//") {
            return Err(bad_address(&mirror.location));
        }
        let host = if host == DOCKER_DOMAIN {
            DOCKER_HOST
        } else {
            host
        };
        let authority = checked_authority(host)?;
        let schemes = match forced {
            Some(scheme) => vec![scheme],
            None => self.schemes(&authority, mirror.insecure),
        };
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        Ok(Endpoint {
            credential_key: authority.clone(),
            authority,
            prefix,
            schemes,
            namespace: mirror.namespace.then(|| domain.to_owned()),
            token_servers: self
                .config
                .registries
                .get(host)
                .map(|registry| registry.token_servers.clone())
                .unwrap_or_default(),
            is_mirror: true,
        })
    }

    /// Plain http is for loopback and for hosts declared insecure; never a silent fall-back
    /// (CVE-2014-5277).
    fn schemes(&self, authority: &str, insecure: Option<bool>) -> Vec<Scheme> {
        let insecure = match self.config.tls_verify {
            Some(verify) => Some(!verify),
            None => insecure,
        };
        let loopback = is_loopback_host(host_of(authority));
        match (insecure, loopback) {
            (Some(false), _) | (None, false) => vec![Scheme::Https],
            // Few registries on this machine have certificates; ask for http first.
            (_, true) => vec![Scheme::Http, Scheme::Https],
            (Some(true), false) => vec![Scheme::Https, Scheme::Http],
        }
    }

    /// Says whether the certificates of `authority` go unchecked.
    pub(crate) fn is_insecure(&self, authority: &str) -> bool {
        if let Some(verify) = self.config.tls_verify {
            return !verify;
        }
        let same = |host: &str| checked_authority(host).is_ok_and(|host| host == authority);
        self.config.registries.iter().any(|(domain, registry)| {
            let own = registry.insecure == Some(true) && same(serving_host(domain));
            own || registry
                .mirrors
                .iter()
                .any(|mirror| mirror.insecure == Some(true) && same(mirror_host(mirror)))
        })
    }

    /// Returns the configured certificate files for `authority`.
    pub(crate) fn ca_files(&self, authority: &str) -> Vec<PathBuf> {
        let mut files = self.config.ca_files.clone();
        for (domain, registry) in &self.config.registries {
            if checked_authority(serving_host(domain)).is_ok_and(|host| host == authority) {
                files.extend(registry.ca_files.iter().cloned());
            }
        }
        files
    }

    /// Returns the folders laid out as `certs.d`.
    pub(crate) fn certs_dirs(&self) -> &[PathBuf] {
        &self.config.certs_dirs
    }
}

fn serving_host(domain: &str) -> &str {
    if domain == DOCKER_DOMAIN {
        DOCKER_HOST
    } else {
        domain
    }
}

fn mirror_host(mirror: &Mirror) -> &str {
    let location = mirror.location.as_str();
    let rest = location
        .split_once("://")
        .map_or(location, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Returns the host of `host[:port]`.
pub(crate) fn host_of(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}

/// Checks that `text` is `host[:port]` and nothing else, and returns it in lower case.
fn checked_authority(text: &str) -> Result<String, FetchError> {
    if text.contains(['/', '?', '#', '@']) {
        return Err(bad_address(text));
    }
    let url = Url::build(Scheme::Https, text, "").map_err(|_| bad_address(text))?;
    Ok(url.origin.authority())
}

fn bad_address(text: &str) -> FetchError {
    FetchError::Address {
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rules(registries: &[(&str, RegistryConfig)], tls_verify: Option<bool>) -> HostRules {
        let registries: BTreeMap<_, _> = registries
            .iter()
            .map(|(domain, registry)| ((*domain).to_owned(), registry.clone()))
            .collect();
        HostRules::new(Arc::new(ClientConfig {
            registries,
            tls_verify,
            ..ClientConfig::default()
        }))
    }

    fn endpoints(rules: &HostRules, reference: &str) -> Vec<Endpoint> {
        rules.endpoints(&reference.parse().unwrap()).unwrap()
    }

    #[test]
    fn only_loopback_and_declared_hosts_get_plain_http() {
        let insecure = RegistryConfig {
            insecure: Some(true),
            ..RegistryConfig::default()
        };
        let rules = rules(&[("lan.test:5000", insecure)], None);
        for (reference, schemes) in [
            ("debian", &[Scheme::Https][..]),
            ("registry.test/a", &[Scheme::Https]),
            ("localhost:5000/a", &[Scheme::Http, Scheme::Https]),
            ("127.8.9.1/a", &[Scheme::Http, Scheme::Https]),
            ("lan.test:5000/a", &[Scheme::Https, Scheme::Http]),
            ("lan.test/a", &[Scheme::Https]),
        ] {
            assert_eq!(
                endpoints(&rules, reference)[0].schemes,
                schemes,
                "{reference}"
            );
        }
        assert!(rules.is_insecure("lan.test:5000"));
        assert!(!rules.is_insecure("localhost:5000"));
    }

    #[test]
    fn the_command_line_outranks_the_file() {
        assert_eq!(
            endpoints(&rules(&[], Some(true)), "localhost/a")[0].schemes,
            [Scheme::Https]
        );
        assert!(rules(&[], Some(false)).is_insecure("any.test"));
    }

    #[test]
    fn docker_hub_and_its_mirrors() {
        let hub = RegistryConfig {
            mirrors: vec![
                Mirror {
                    location: "https://cache.test/hub/".to_owned(),
                    namespace: true,
                    ..Mirror::default()
                },
                Mirror {
                    location: "localhost:5000".to_owned(),
                    ..Mirror::default()
                },
            ],
            ..RegistryConfig::default()
        };
        let all = endpoints(&rules(&[("docker.io", hub)], None), "debian");
        assert_eq!(
            all[0].repository(&"debian".parse().unwrap()),
            "hub/library/debian"
        );
        assert_eq!(all[0].namespace.as_deref(), Some("docker.io"));
        assert_eq!(all[0].credential_key, "cache.test");
        assert_eq!(all[1].authority, "localhost:5000");
        assert_eq!(all[2].authority, DOCKER_HOST);
        assert_eq!(all[2].credential_key, "docker.io");
    }

    #[test]
    fn refuses_addresses_that_are_none() {
        for location in [
            "", "a b", "ftp://x", "u@h", "h/../x", "h?x", "h/%2e%2e", "h/a//x", "h:0",
        ] {
            let registry = RegistryConfig {
                mirrors: vec![Mirror {
                    location: location.to_owned(),
                    ..Mirror::default()
                }],
                ..RegistryConfig::default()
            };
            let rules = rules(&[("docker.io", registry)], None);
            let result = rules.endpoints(&"debian".parse().unwrap());
            assert!(
                matches!(result, Err(FetchError::Address { .. })),
                "{location:?}"
            );
        }
    }
}
