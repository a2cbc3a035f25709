//! What package managers and builds leave, by where it lies.

/// A kind of left-over.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) fix: &'static str,
    places: &'static [&'static str],
}

/// The first that fits is the one. A place is a path of folders; `*` is any one of them, `**` in
/// front any number. Everything below it counts.
pub(super) const KINDS: [Kind; 16] = [
    Kind {
        name: "git",
        fix: "echo .git >> .dockerignore",
        places: &["**/.git"],
    },
    Kind {
        name: "apt-lists",
        fix: "RUN apt-get update && apt-get install -y … && rm -rf /var/lib/apt/lists/*",
        places: &["var/lib/apt/lists"],
    },
    Kind {
        name: "apt-archives",
        fix: "RUN apt-get update && apt-get install -y … && apt-get clean",
        places: &["var/cache/apt"],
    },
    Kind {
        name: "apk-cache",
        fix: "RUN apk add --no-cache …",
        places: &["var/cache/apk", "etc/apk/cache"],
    },
    Kind {
        name: "dnf-cache",
        fix: "RUN dnf install -y … && dnf clean all",
        places: &["var/cache/dnf", "var/cache/libdnf5", "var/cache/yum"],
    },
    Kind {
        name: "zypper-cache",
        fix: "RUN zypper install -y … && zypper clean --all",
        places: &["var/cache/zypp"],
    },
    Kind {
        name: "pacman-cache",
        fix: "RUN pacman -S --noconfirm … && pacman -Scc --noconfirm",
        places: &["var/cache/pacman"],
    },
    Kind {
        name: "pip-cache",
        fix: "RUN pip install --no-cache-dir …",
        places: &["root/.cache/pip", "home/*/.cache/pip"],
    },
    Kind {
        name: "npm-cache",
        fix: "RUN npm ci && npm cache clean --force",
        places: &["root/.npm", "home/*/.npm"],
    },
    Kind {
        name: "yarn-cache",
        fix: "RUN yarn install && yarn cache clean",
        places: &[
            "root/.cache/yarn",
            "home/*/.cache/yarn",
            "usr/local/share/.cache/yarn",
        ],
    },
    Kind {
        name: "go-cache",
        fix: "RUN --mount=type=cache,target=/root/.cache/go-build go build …",
        places: &["root/.cache/go-build", "root/go/pkg/mod", "go/pkg/mod"],
    },
    Kind {
        name: "cargo-cache",
        fix: "RUN --mount=type=cache,target=/usr/local/cargo/registry cargo build …",
        places: &["root/.cargo/registry", "usr/local/cargo/registry"],
    },
    Kind {
        name: "other-cache",
        fix: "RUN … && rm -rf ~/.cache",
        places: &["root/.cache", "home/*/.cache"],
    },
    Kind {
        name: "pycache",
        fix: "ENV PYTHONDONTWRITEBYTECODE=1",
        places: &["**/__pycache__"],
    },
    Kind {
        name: "logs",
        fix: "RUN … && find /var/log -type f -delete",
        places: &["var/log"],
    },
    Kind {
        name: "temporary",
        fix: "RUN … && rm -rf /tmp/* /var/tmp/*",
        places: &["tmp", "var/tmp"],
    },
];

/// Returns what kind of left-over a file is.
pub(super) fn kind_of(path: &[u8]) -> Option<&'static Kind> {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let folders = parts.split_last().map_or(&[][..], |(_, folders)| folders);
    KINDS
        .iter()
        .find(|kind| kind.places.iter().any(|place| is_below(folders, place)))
}

fn is_below(folders: &[&[u8]], place: &str) -> bool {
    if let Some(name) = place.strip_prefix("**/") {
        return folders.contains(&name.as_bytes());
    }
    let mut folders = folders.iter();
    place.split('/').all(|part| {
        folders
            .next()
            .is_some_and(|folder| part == "*" || **folder == *part.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_overs_are_known_by_their_place() {
        let table = [
            ("var/lib/apt/lists/deb_main_Packages", Some("apt-lists")),
            ("var/cache/apt/archives/x.deb", Some("apt-archives")),
            ("var/cache/apk/APKINDEX", Some("apk-cache")),
            ("home/me/.cache/pip/x", Some("pip-cache")),
            ("home/.cache/pip/x", None),
            ("srv/app/.git/objects/aa", Some("git")),
            ("srv/app/.gitignore", None),
            ("usr/lib/python3/__pycache__/a.pyc", Some("pycache")),
            ("tmp", None),
            ("tmp/x", Some("temporary")),
            ("usr/tmp/x", None),
            ("var/log/dpkg.log", Some("logs")),
            ("root/.cache/x", Some("other-cache")),
        ];
        for (path, name) in table {
            assert_eq!(
                kind_of(path.as_bytes()).map(|kind| kind.name),
                name,
                "{path}"
            );
        }
    }
}
