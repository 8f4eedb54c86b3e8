//! What containers.conf(5) says of new containers: the defaults of flags.

use serde::Deserialize;

/// What stands in `[containers]`, `[network]` and `[engine]` for `run` and `create`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Defaults {
    pub containers: Containers,
    pub network: Network,
    pub engine: Engine,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Containers {
    pub annotations: Vec<String>,
    pub apparmor_profile: Option<String>,
    pub base_hosts_file: Option<String>,
    pub cgroup_conf: Vec<String>,
    pub cgroups: Option<String>,
    pub cgroupns: Option<String>,
    pub container_name_as_hostname: bool,
    pub default_capabilities: Option<Vec<String>>,
    pub default_sysctls: Vec<String>,
    pub default_ulimits: Vec<String>,
    pub devices: Vec<String>,
    pub dns_options: Vec<String>,
    pub dns_searches: Vec<String>,
    pub dns_servers: Vec<String>,
    pub env: Vec<String>,
    pub env_host: bool,
    pub http_proxy: Option<bool>,
    pub init: bool,
    pub ipcns: Option<String>,
    pub log_driver: Option<String>,
    pub log_size_max: Option<i64>,
    pub log_tag: Option<String>,
    pub mounts: Vec<String>,
    pub netns: Option<String>,
    pub no_hosts: bool,
    pub oom_score_adj: Option<i64>,
    pub pidns: Option<String>,
    pub pids_limit: Option<i64>,
    pub privileged: bool,
    pub read_only: bool,
    pub seccomp_profile: Option<String>,
    pub shm_size: Option<String>,
    pub tz: Option<String>,
    pub umask: Option<String>,
    pub utsns: Option<String>,
    pub volumes: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Network {
    pub pasta_options: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Engine {
    pub cdi_spec_dirs: Option<Vec<std::path::PathBuf>>,
    pub cgroup_manager: Option<String>,
    pub detach_keys: Option<String>,
    pub env: Vec<String>,
    pub image_volume_mode: Option<String>,
    pub pull_policy: Option<String>,
    pub retry: Option<u32>,
    pub retry_delay: Option<String>,
    pub stop_timeout: Option<u32>,
}

/// Keys that would change what containers are, and that nothing here does: they are
/// refused where they ask for something else than `harmless`.
const REFUSED: &[(&str, &str, &[&str])] = &[
    ("containers", "host_containers_internal_ip", &["", "none"]),
    ("containers", "interface_name", &[""]),
    ("containers", "log_path", &[""]),
    ("containers", "keyring", &["true"]),
    ("containers", "prepare_volume_on_create", &["false"]),
    ("engine", "hooks_dir", &[]),
    ("engine", "no_pivot_root", &["false"]),
    ("engine", "remote", &["false"]),
    ("network", "default_rootless_network_cmd", &["", "pasta"]),
    ("secrets", "driver", &["", "file"]),
];

/// The first key of `table` that is refused, as `key in containers.conf`.
pub fn refused(table: &toml::Table) -> Option<String> {
    let asks = |(section, key, harmless): &&(&str, &str, &[&str])| {
        let value = table.get(*section).and_then(|it| it.get(*key));
        value.is_some_and(|value| {
            let text = match value {
                toml::Value::String(text) => text.clone(),
                // A list of nothing asks for nothing.
                toml::Value::Array(all) if all.is_empty() => return false,
                toml::Value::Boolean(is) => is.to_string(),
                _ => return true,
            };
            !harmless.contains(&text.as_str())
        })
    };
    let found = REFUSED.iter().find(asks);
    found.map(|(_, key, _)| format!("{key} in containers.conf"))
}

/// Adds the keys of `more` to `all`, which they replace; but a list that has
/// `{append=true}` is added to what is there, and goes on to be.
pub fn merge(all: &mut toml::Table, more: toml::Table) {
    for (section, value) in more {
        match (all.get_mut(&section), value) {
            (Some(toml::Value::Table(there)), toml::Value::Table(more)) => merge_keys(there, more),
            (_, toml::Value::Table(more)) => {
                let mut fresh = toml::Table::new();
                merge_keys(&mut fresh, more);
                all.insert(section, toml::Value::Table(fresh));
            }
            (_, other) => {
                all.insert(section, other);
            }
        }
    }
}

fn merge_keys(there: &mut toml::Table, more: toml::Table) {
    for (key, value) in more {
        match (there.get_mut(&key), value) {
            (Some(toml::Value::Array(old)), toml::Value::Array(new)) => {
                let said = new.iter().rev().find_map(appends);
                let goes_on = said.or_else(|| old.iter().rev().find_map(appends));
                if goes_on == Some(true) {
                    old.extend(new);
                } else {
                    *old = new;
                }
            }
            (_, value) => {
                there.insert(key, value);
            }
        }
    }
}

/// What `{append=…}` in a list says.
fn appends(item: &toml::Value) -> Option<bool> {
    item.as_table()?.get("append")?.as_bool()
}

/// The same without what only says how lists go together.
pub fn without_marks(table: &toml::Table) -> toml::Table {
    let mut all = table.clone();
    for (_, section) in all.iter_mut() {
        for (_, value) in section.as_table_mut().into_iter().flatten() {
            if let toml::Value::Array(items) = value {
                items.retain(|item| appends(item).is_none());
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(files: &[&str]) -> Defaults {
        let mut all = toml::Table::new();
        for file in files {
            merge(&mut all, toml::from_str(file).unwrap());
        }
        without_marks(&all).try_into().unwrap()
    }

    /// The example of containers.conf(5).
    #[test]
    fn lists_may_be_appended_to() {
        let files = [
            "[containers]\nenv=[\"1=true\"]",
            "[containers]\nenv=[\"2=true\"]",
            "[containers]\nenv=[\"3=true\", {append=true}]",
            "[containers]\nenv=[\"4=true\"]",
        ];
        assert_eq!(
            merged(&files).containers.env,
            ["2=true", "3=true", "4=true"]
        );
        let last = "[containers]\nenv=[\"5=true\", {append=false}]";
        let files = [&files[..], &[last]].concat();
        assert_eq!(merged(&files).containers.env, ["5=true"]);
    }

    #[test]
    fn what_cannot_be_done_is_refused_unless_it_asks_for_nothing() {
        let refused = |text: &str| refused(&toml::from_str(text).unwrap());
        assert_eq!(refused("[containers]\nkeyring=true\nlog_path=\"\""), None);
        assert_eq!(refused("[engine]\nhooks_dir=[]"), None);
        assert_eq!(
            refused("[containers]\nkeyring=false").as_deref(),
            Some("keyring in containers.conf")
        );
    }
}
