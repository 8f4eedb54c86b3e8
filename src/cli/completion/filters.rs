//! `--filter KEY=VALUE`: the keys a command has, and what there is for a value.

use super::kind::{Kind, Which, Word};
use super::line::Line;
use super::offer::Offers;

/// The keys of a command's filters.
pub fn keys(command: &str) -> &'static [Word] {
    match command {
        "ps" | "wait" | "stop" | "start" | "restart" | "rm" | "kill" | "pause" | "unpause"
        | "init" | "container inspect" | "stats" | "port" => CONTAINERS,
        "container prune" | "system prune" => PRUNED,
        "images" | "image prune" => IMAGES,
        "volume ls" | "volume prune" => VOLUMES,
        "search" => SEARCH,
        "events" => EVENTS,
        "secret ls" => SECRETS,
        _ => &[],
    }
}

/// The keys, and behind one its values.
pub fn offers(line: &Line, typed: &str) -> Offers {
    let Some((key, value)) = typed.split_once('=') else {
        return Offers::fixed(keys(line.command));
    };
    let mut offers = line.value(kind(line.command, key), value);
    offers.put_before(&format!("{key}="));
    offers
}

/// What may stand behind a key.
pub fn kind(command: &str, key: &str) -> Kind {
    let containers = keys(command) == CONTAINERS;
    let is_events = command == "events";
    match key {
        "network" => Kind::NetworkMode,
        "volume" => Kind::Volume,
        "ancestor" | "image" => Kind::Image,
        "container" => Kind::Container(Which::All),
        "name" | "id" | "before" | "since" if containers => Kind::Container(Which::All),
        "reference" | "before" | "since" | "after" if keys(command) == IMAGES => Kind::Image,
        "name" | "since" | "after" if keys(command) == VOLUMES => Kind::Volume,
        "restart-policy" => Kind::Words(RESTART),
        "health" => Kind::Words(HEALTH),
        "event" | "status" if is_events => Kind::Words(HAPPENED),
        "status" => Kind::Words(STATES),
        "type" if is_events => Kind::Words(TYPES),
        "all"
        | "anonymous"
        | "dangling"
        | "intermediate"
        | "manifest"
        | "readonly"
        | "containers"
        | "is-official"
        | "is-automated"
        | "should-start-on-boot" => Kind::Words(BOOLEANS),
        "driver" => Kind::Words(&[("local", ""), ("image", "")]),
        "scope" => Kind::Words(&[("local", "")]),
        "until" => Kind::Words(&[("24h", "That long ago"), ("240h", "That long ago")]),
        _ => Kind::Text,
    }
}

const CONTAINERS: &[Word] = &[
    ("ancestor=", "Made of this image"),
    ("before=", "Made before this container"),
    ("command=", "By the command"),
    ("exited=", "Ended with this code"),
    ("health=", "By the state of its health check"),
    ("id=", "By its id"),
    ("label=", "KEY or KEY=VALUE"),
    ("label!=", "Without this label"),
    ("name=", "By its name"),
    ("network=", "In this network"),
    ("pod=", "In this pod"),
    ("restart-policy=", "With this policy"),
    ("should-start-on-boot=", "To be started with the machine"),
    ("since=", "Made after this container"),
    ("status=", "In this state"),
    ("until=", "Made before this moment"),
    ("volume=", "That mounts this volume"),
];

const PRUNED: &[Word] = &[
    ("label=", "KEY or KEY=VALUE"),
    ("label!=", "Without this label"),
    ("until=", "Made before this moment"),
];

const IMAGES: &[Word] = &[
    ("after=", "Made after this image"),
    ("before=", "Made before this image"),
    ("containers=", "That containers are made of"),
    ("dangling=", "Without a name"),
    ("digest=", "By its digest"),
    ("id=", "By its id"),
    ("intermediate=", "Of a build's steps"),
    ("label=", "KEY or KEY=VALUE"),
    ("manifest=", "Manifest lists"),
    ("readonly=", "In a store that is not written to"),
    ("reference=", "By its name, which may have *"),
    ("since=", "Made after this image"),
    ("until=", "Made before this moment"),
];

const VOLUMES: &[Word] = &[
    ("after=", "Made after this volume"),
    ("all=", "Not only anonymous ones"),
    ("anonymous=", "Made for one container"),
    ("dangling=", "Used by no container"),
    ("driver=", "local or image"),
    ("label=", "KEY or KEY=VALUE"),
    ("label!=", "Without this label"),
    ("name=", "By its name"),
    ("opt=", "By an option of its driver"),
    ("scope=", "local"),
    ("since=", "Made after this volume"),
    ("until=", "Made before this moment"),
];

const SEARCH: &[Word] = &[
    ("is-automated=", "Built by the registry"),
    ("is-official=", "Kept by the registry"),
    ("stars=", "With as many stars at least"),
];

const EVENTS: &[Word] = &[
    ("container=", "Of this container"),
    ("event=", "Of this kind"),
    ("image=", "Of this image"),
    ("label=", "Of what has this label"),
    ("pod=", "Of this pod"),
    ("status=", "As event="),
    ("type=", "Of containers, images, volumes…"),
    ("volume=", "Of this volume"),
];

const SECRETS: &[Word] = &[("id=", "By its id"), ("name=", "By its name")];

const STATES: &[Word] = &[
    ("created", "Not started yet"),
    ("exited", "Ended"),
    ("initialized", "Ready, its command not started"),
    ("paused", "Its processes stand still"),
    ("removing", ""),
    ("running", ""),
    ("stopped", "Ended"),
];

const RESTART: &[Word] = &[
    ("no", ""),
    ("always", ""),
    ("on-failure", ""),
    ("unless-stopped", ""),
];

const HEALTH: &[Word] = &[
    ("healthy", ""),
    ("none", ""),
    ("starting", ""),
    ("unhealthy", ""),
];

const BOOLEANS: &[Word] = &[("true", ""), ("false", "")];

const TYPES: &[Word] = &[
    ("container", ""),
    ("image", ""),
    ("network", ""),
    ("pod", ""),
    ("secret", ""),
    ("system", ""),
    ("volume", ""),
];

const HAPPENED: &[Word] = &[
    ("attach", ""),
    ("cleanup", "A container's end is over"),
    ("commit", ""),
    ("create", ""),
    ("died", ""),
    ("exec", ""),
    ("exec_died", "What exec ran has ended"),
    ("export", ""),
    ("health_status", "A health check has run"),
    ("import", ""),
    ("init", ""),
    ("kill", ""),
    ("load", ""),
    ("mount", ""),
    ("pause", ""),
    ("prune", ""),
    ("pull", ""),
    ("pull-error", "A pull has failed"),
    ("push", ""),
    ("remove", ""),
    ("rename", ""),
    ("restart", ""),
    ("save", ""),
    ("start", ""),
    ("stop", ""),
    ("tag", ""),
    ("unmount", ""),
    ("unpause", ""),
    ("untag", ""),
];
