//! The commands that change the store, and what each begins with.

use anyhow::Result;

use super::checks::{
    again_and_empty, again_and_gone, comes_back, comes_back_from_here, committed_again,
    pulled_again, pushed_again, saved_again, volumes_again,
};
use super::store::Host;

/// One command that is disturbed.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// The stride of the short form.
    pub(super) stride: usize,
    /// Its words; `REGISTRY` stands for the registry's address, `FOLDER` for the host's folder.
    pub(super) words: &'static [&'static str],
    /// Commands that make the store it begins with.
    pub(super) before: &'static [&'static [&'static str]],
    /// Looks at what is left, after the checks that all have.
    pub(super) check: fn(&Host, &Scenario) -> Result<()>,
}

pub(super) const SCENARIOS: [Scenario; 16] = [
    Scenario {
        name: "rmi",
        stride: 2,
        words: &["rmi", "one:1", "one:2"],
        before: &[],
        check: comes_back,
    },
    Scenario {
        name: "rmi --now",
        stride: 3,
        words: &["rmi", "--now", "-f", "one:1", "one:2"],
        before: &[],
        check: again_and_gone,
    },
    Scenario {
        name: "rm -v",
        stride: 2,
        words: &["rm", "-v", "idle"],
        before: &[],
        check: comes_back,
    },
    Scenario {
        name: "prune",
        stride: 5,
        words: &["prune", "-a", "-f", "--volumes"],
        before: &[],
        check: comes_back,
    },
    Scenario {
        name: "prune --now",
        stride: 11,
        words: &["prune", "-a", "-f", "--volumes", "--now"],
        before: &[],
        check: again_and_empty,
    },
    Scenario {
        name: "undo",
        stride: 2,
        words: &["undo"],
        before: &[&["prune", "-a", "-f", "--volumes"]],
        check: comes_back,
    },
    Scenario {
        name: "pull",
        stride: 7,
        words: &["pull", "REGISTRY/big:1"],
        before: &[],
        check: pulled_again,
    },
    Scenario {
        name: "push",
        stride: 2,
        words: &["push", "REGISTRY/one:1"],
        before: &[&["tag", "one:1", "REGISTRY/one:1"]],
        check: pushed_again,
    },
    Scenario {
        name: "save",
        stride: 2,
        words: &["save", "-o", "FOLDER/saved.tar", "one:1"],
        before: &[],
        check: saved_again,
    },
    Scenario {
        name: "volume create",
        stride: 3,
        words: &["volume", "create", "--label", "a=b", "made"],
        before: &[],
        check: volumes_again,
    },
    Scenario {
        name: "volume rm",
        stride: 3,
        words: &["volume", "rm", "one", "two"],
        before: &[
            &["volume", "create", "one"],
            &["volume", "import", "two", "FOLDER/one.tar"],
        ],
        check: comes_back_from_here,
    },
    Scenario {
        name: "volume prune",
        stride: 13,
        words: &["volume", "prune", "-a", "-f"],
        before: &[
            &["volume", "create", "one"],
            &["volume", "import", "two", "FOLDER/one.tar"],
        ],
        check: comes_back_from_here,
    },
    Scenario {
        name: "volume clone",
        stride: 5,
        words: &["volume", "clone", "full", "made"],
        before: &[&["volume", "import", "full", "FOLDER/one.tar"]],
        check: volumes_again,
    },
    Scenario {
        name: "volume rename",
        stride: 2,
        words: &["volume", "rename", "full", "made"],
        before: &[&["volume", "import", "full", "FOLDER/one.tar"]],
        check: volumes_again,
    },
    Scenario {
        name: "volume import",
        stride: 4,
        words: &["volume", "import", "made", "FOLDER/one.tar"],
        before: &[],
        check: volumes_again,
    },
    Scenario {
        name: "commit",
        stride: 3,
        words: &["commit", "changed", "committed:1"],
        before: &[&[
            "run",
            "--network",
            "none",
            "--name",
            "changed",
            "minimal",
            "sh",
            "-c",
            "echo kept > /f; while [ ${#x} -lt 9999 ]; do x=x$x$$; done; echo $x > /large; mkdir -p /d",
        ]],
        check: committed_again,
    },
];
