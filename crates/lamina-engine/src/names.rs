//! Default names: `adjective_noun`, as people know them from Docker.
//!
//! The table is our own: trades, tools and materials of people who work with thin layers.

/// How a thing may be.
const ADJECTIVES: [&str; 64] = [
    "amber", "ample", "apt", "bold", "brave", "bright", "brisk", "calm", "candid", "careful",
    "cheerful", "clear", "clever", "cool", "crisp", "curious", "daring", "deft", "eager", "early",
    "earnest", "fair", "fancy", "fine", "firm", "fleet", "fond", "frank", "fresh", "gentle",
    "glad", "golden", "grand", "happy", "hardy", "honest", "humble", "keen", "kind", "light",
    "lively", "lucid", "merry", "mild", "modest", "neat", "nimble", "noble", "patient", "plain",
    "polite", "proud", "quick", "quiet", "ready", "sharp", "silent", "smooth", "sober", "steady",
    "swift", "tidy", "vivid", "warm",
];

/// What a thing may be.
const NOUNS: [&str; 64] = [
    "anvil",
    "arch",
    "atlas",
    "awl",
    "beam",
    "bellows",
    "binder",
    "bobbin",
    "brush",
    "burin",
    "cairn",
    "canvas",
    "cedar",
    "chisel",
    "compass",
    "copper",
    "cooper",
    "crane",
    "easel",
    "elm",
    "ember",
    "enamel",
    "fabric",
    "felt",
    "ferry",
    "foil",
    "forge",
    "gilder",
    "glass",
    "glazier",
    "gneiss",
    "granite",
    "harbor",
    "hazel",
    "hinge",
    "inlay",
    "jetty",
    "joiner",
    "kiln",
    "lacquer",
    "lantern",
    "larch",
    "ledger",
    "linen",
    "loom",
    "maple",
    "mason",
    "mica",
    "mortar",
    "nacre",
    "paper",
    "parchment",
    "plane",
    "press",
    "quarry",
    "ribbon",
    "slate",
    "spindle",
    "tiler",
    "timber",
    "trowel",
    "varnish",
    "veneer",
    "weaver",
];

/// Returns the name that these random bytes choose; a later `attempt` adds a digit, so that
/// thousands of containers still find free names.
pub(crate) fn generate(random: [u8; 3], attempt: u32) -> String {
    let adjective = ADJECTIVES[usize::from(random[0]) % ADJECTIVES.len()];
    let noun = NOUNS[usize::from(random[1]) % NOUNS.len()];
    match attempt {
        0..=3 => format!("{adjective}_{noun}"),
        _ => format!(
            "{adjective}_{noun}{}",
            u32::from(random[2]) + 256 * (attempt - 4)
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lamina_types::ContainerName;

    use super::*;

    #[test]
    fn every_name_is_a_valid_one_and_no_word_comes_twice() {
        for words in [ADJECTIVES, NOUNS] {
            assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
        }
        for i in 0..=255 {
            for attempt in [0, 4, 9] {
                generate([i, 255 - i, i], attempt)
                    .parse::<ContainerName>()
                    .unwrap();
            }
        }
    }

    #[test]
    fn later_attempts_have_more_to_choose_from() {
        assert_eq!(generate([0, 0, 7], 0), "amber_anvil");
        assert_eq!(generate([0, 0, 7], 4), "amber_anvil7");
        assert_eq!(generate([0, 0, 7], 5), "amber_anvil263");
    }
}
