//! Names for containers that were given none: `adjective_surname`.

use crate::id::{ContainerId, Name};

const ADJECTIVES: [&str; 64] = [
    "able", "agile", "amber", "ample", "brave", "brisk", "calm", "candid", "clever", "cosy",
    "crisp", "deft", "dapper", "eager", "early", "earnest", "fair", "fluent", "fond", "frank",
    "gentle", "glad", "golden", "hardy", "hearty", "honest", "jolly", "keen", "kind", "lively",
    "loyal", "lucid", "mellow", "merry", "mild", "modest", "neat", "nimble", "noble", "patient",
    "placid", "polite", "prompt", "proud", "quick", "quiet", "ready", "serene", "sharp", "silent",
    "sincere", "smart", "snug", "sober", "steady", "sturdy", "sunny", "swift", "tender", "tidy",
    "upbeat", "vivid", "warm", "witty",
];

/// People who built boats, charted waters, or sailed them.
const SURNAMES: [&str; 64] = [
    "amundsen",
    "anson",
    "baret",
    "barents",
    "beaufort",
    "bering",
    "blyth",
    "bougainville",
    "bowditch",
    "cabot",
    "cartier",
    "chichester",
    "cook",
    "cousteau",
    "crealock",
    "dampier",
    "davis",
    "drake",
    "earle",
    "eiriksson",
    "fitzroy",
    "flinders",
    "franklin",
    "frobisher",
    "gama",
    "gatty",
    "graham",
    "halley",
    "harrison",
    "heyerdahl",
    "hornell",
    "hudson",
    "ibnmajid",
    "jeanne",
    "joshua",
    "knox",
    "laperouse",
    "macarthur",
    "magellan",
    "maury",
    "mercator",
    "moitessier",
    "nansen",
    "ohthere",
    "parry",
    "piailug",
    "pytheas",
    "ross",
    "scoresby",
    "shackleton",
    "slocum",
    "sumner",
    "tabarly",
    "tasman",
    "thomson",
    "torres",
    "tristan",
    "tupaia",
    "vancouver",
    "vespucci",
    "villiers",
    "worsley",
    "zheng",
    "zarco",
];

/// A name chosen by the id's own randomness; `attempt` after the first, which may
/// be taken, adds digits of it.
pub fn for_container(id: &ContainerId, attempt: u32) -> Name {
    let byte = |at: usize| usize::from_str_radix(&id.as_str()[at..at + 2], 16).unwrap_or(0);
    let plain = format!("{}_{}", ADJECTIVES[byte(0) % 64], SURNAMES[byte(2) % 64]);
    let name = if attempt == 0 {
        plain
    } else {
        format!(
            "{plain}_{}",
            &id.as_str()[4..4 + 2 * attempt.min(8) as usize]
        )
    };
    name.parse().expect("letters, digits and underscores")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_and_differ_by_attempt() {
        let id = ContainerId::random();
        assert_ne!(for_container(&id, 0), for_container(&id, 1));
    }
}
