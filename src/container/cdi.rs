//! Devices that are asked for by name: `vendor.com/class=name` (Container Device
//! Interface 1.0). What a device brings (variables, device nodes, mounts, hooks) stands in
//! files of the vendor's, found anew at every start, as drivers are exchanged in between.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::{Hook, HookBuilder, HooksBuilder, Spec};
use serde::Deserialize;

use super::options::{Device, Mount, MountKind, Options};
use super::spec;
use crate::error::{Error, Kind, Result, words};
use crate::settings::yaml;

/// Whether `text` is the name of such a device rather than a path.
pub fn is_name(text: &str) -> bool {
    let ends_well = |word: &str| word.ends_with(|c: char| c.is_ascii_alphanumeric());
    let is_word = |word: &str, marks: &str| {
        ends_well(word)
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
    };
    let Some((kind, name)) = text.split_once('=') else {
        return false;
    };
    let begins_well = |word: &str| word.starts_with(|c: char| c.is_ascii_alphabetic());
    kind.split_once('/').is_some_and(|(vendor, class)| {
        (begins_well(vendor) && is_word(vendor, "_-."))
            && (begins_well(class) && is_word(class, "_-"))
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && is_word(name, "_-.:")
    })
}

/// What devices bring, all together.
#[derive(Debug, Default, PartialEq)]
pub struct Edits {
    env: Vec<String>,
    devices: Vec<Device>,
    mounts: Vec<Mount>,
    groups: Vec<u32>,
    hooks: Vec<CalledHook>,
}

impl Edits {
    /// Those of the devices `names`, as the files in `folders` say: of two folders that
    /// know a device the later.
    pub fn find(names: &[String], folders: &[PathBuf]) -> Result<Self> {
        let mut edits = Self::default();
        if names.is_empty() {
            return Ok(edits);
        }
        let known = Known::read(folders);
        let missing: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| known.find(name).is_none())
            .collect();
        if !missing.is_empty() {
            return Err(known.unresolvable(&missing));
        }
        let mut begun: Vec<*const File> = Vec::new();
        for (file, device) in names.iter().filter_map(|name| known.find(name)) {
            if !begun.contains(&std::ptr::from_ref(file)) {
                begun.push(file);
                edits.add(&file.container_edits)?;
            }
            edits.add(&device.container_edits)?;
        }
        Ok(edits)
    }

    fn add(&mut self, more: &ContainerEdits) -> Result<()> {
        if !more.net_devices.is_empty() {
            return Err(Error::unsupported("a CDI device with a network device"));
        }
        if more.intel_rdt.is_some() {
            return Err(Error::unsupported("a CDI device with Intel RDT"));
        }
        self.env.extend_from_slice(&more.env);
        self.groups.extend_from_slice(&more.additional_gids);
        for node in &more.device_nodes {
            self.devices.push(node.device()?);
        }
        self.mounts
            .extend(more.mounts.iter().map(GivenMount::mount));
        for hook in &more.hooks {
            self.hooks.push(hook.checked()?);
        }
        Ok(())
    }

    /// Whether there is nothing to apply.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `options` with these, which win over what was there.
    pub fn applied(&self, options: &Options) -> Options {
        let mut options = options.clone();
        for variable in &self.env {
            spec::set_variable(&mut options.env, variable);
        }
        let is_new = |path: &Path| !self.devices.iter().any(|it| it.destination == path);
        options.devices.retain(|it| is_new(&it.destination));
        options.devices.extend_from_slice(&self.devices);
        let is_new = |path: &Path| !self.mounts.iter().any(|it| it.destination == path);
        options.mounts.retain(|it| is_new(&it.destination));
        options.mounts.extend_from_slice(&self.mounts);
        let groups = self.groups.iter().map(ToString::to_string);
        options.groups.extend(groups);
        options
    }

    /// Adds the hooks to `spec`.
    pub fn hook(&self, spec: &mut Spec) -> Result<()> {
        if self.hooks.is_empty() {
            return Ok(());
        }
        let of = |name: HookName| -> Result<Vec<Hook>> {
            let hooks = self.hooks.iter().filter(|it| it.name == name);
            hooks.map(CalledHook::hook).collect()
        };
        let hooks = HooksBuilder::default()
            .create_runtime([of(HookName::Prestart)?, of(HookName::CreateRuntime)?].concat())
            .create_container(of(HookName::CreateContainer)?)
            .start_container(of(HookName::StartContainer)?)
            .build();
        spec.set_hooks(Some(
            hooks.map_err(|error| Error::other(error.to_string()))?,
        ));
        Ok(())
    }
}

/// The files of all folders.
struct Known {
    /// Folder by folder, the most important first.
    folders: Vec<Vec<File>>,
    /// Why files are left out.
    unreadable: Vec<String>,
}

impl Known {
    fn read(folders: &[PathBuf]) -> Self {
        let mut known = Self {
            folders: Vec::new(),
            unreadable: Vec::new(),
        };
        for folder in folders.iter().rev() {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            paths.retain(|path| {
                let end = path.extension().and_then(|end| end.to_str());
                matches!(end, Some("json" | "yaml"))
            });
            paths.sort();
            let mut files = Vec::new();
            for path in paths {
                match File::read(&path) {
                    Ok(file) => files.push(file),
                    Err(why) => known.unreadable.push(format!("{}: {why}", path.display())),
                }
            }
            known.folders.push(files);
        }
        known
    }

    /// The device of this name. Two in one folder are none.
    fn find(&self, name: &str) -> Option<(&File, &NamedDevice)> {
        let (kind, name) = name.split_once('=')?;
        for files in &self.folders {
            let mut found = files
                .iter()
                .filter(|file| file.kind == kind)
                .flat_map(|file| {
                    let devices = file.devices.iter().filter(|it| it.name == name);
                    devices.map(move |device| (file, device))
                });
            match (found.next(), found.next()) {
                (None, _) => {}
                (found, None) => return found,
                (Some(_), Some(_)) => return None,
            }
        }
        None
    }

    fn unresolvable(&self, names: &[&str]) -> Error {
        let error = Error::new(
            Kind::CannotInvoke,
            format!(
                "setting up CDI devices: unresolvable CDI devices {}",
                names.join(", ")
            ),
        );
        match self.unreadable.first() {
            Some(why) => error.hint(format!(
                "a file that describes devices is no such file: {why}"
            )),
            None => error,
        }
    }
}

/// A file of a vendor's, in the specification's words.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    cdi_version: String,
    kind: String,
    #[serde(default)]
    devices: Vec<NamedDevice>,
    #[serde(default)]
    container_edits: ContainerEdits,
}

impl File {
    fn read(path: &Path) -> std::result::Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| words(&error))?;
        let file: Self = match path.extension().is_some_and(|end| end == "json") {
            true => serde_json::from_str(&text).map_err(|error| error.to_string())?,
            false => yaml::read(&text)?,
        };
        match file.cdi_version.split('.').next() {
            Some("0" | "1") => Ok(file),
            _ => Err(format!("unknown cdiVersion {:?}", file.cdi_version)),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedDevice {
    name: String,
    #[serde(default)]
    container_edits: ContainerEdits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerEdits {
    env: Vec<String>,
    device_nodes: Vec<DeviceNode>,
    mounts: Vec<GivenMount>,
    hooks: Vec<GivenHook>,
    additional_gids: Vec<u32>,
    net_devices: Vec<serde::de::IgnoredAny>,
    intel_rdt: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

/// A user cannot make devices: the host's own is bound, so its type and number, its
/// owner and its mode are the host's.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeviceNode {
    path: PathBuf,
    #[serde(default)]
    host_path: Option<PathBuf>,
    #[serde(default)]
    permissions: Option<String>,
}

impl DeviceNode {
    fn device(&self) -> Result<Device> {
        let source = (self.host_path.clone())
            .filter(|path| !path.as_os_str().is_empty())
            .unwrap_or_else(|| self.path.clone());
        if let Err(error) = source.metadata() {
            return Err(Error::new(
                Kind::CommandNotFound,
                format!(
                    "setting up CDI devices: failed to inject devices: failed to stat CDI host device {:?}: {}",
                    source.display().to_string(),
                    words(&error)
                ),
            ));
        }
        let permissions = self.permissions.as_deref().filter(|it| !it.is_empty());
        Ok(Device {
            source,
            destination: self.path.clone(),
            permissions: permissions.unwrap_or("rwm").to_owned(),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenMount {
    #[serde(default)]
    host_path: PathBuf,
    container_path: PathBuf,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default)]
    r#type: String,
}

impl GivenMount {
    fn mount(&self) -> Mount {
        let kind = match self.r#type.as_str() {
            "tmpfs" => MountKind::Tmpfs {
                options: self.options.clone(),
                copy_up: false,
            },
            _ => MountKind::Bind {
                source: self.host_path.clone(),
            },
        };
        let is_bind = matches!(kind, MountKind::Bind { .. });
        Mount {
            destination: self.container_path.clone(),
            read_only: self.options.iter().any(|it| it == "ro"),
            options: match is_bind {
                true => self.options.clone(),
                false => Vec::new(),
            },
            kind,
            chown: false,
            subpath: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HookName {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenHook {
    hook_name: String,
    path: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    timeout: Option<i64>,
}

impl GivenHook {
    fn checked(&self) -> Result<CalledHook> {
        let name = match self.hook_name.as_str() {
            "prestart" => HookName::Prestart,
            "createRuntime" => HookName::CreateRuntime,
            "createContainer" => HookName::CreateContainer,
            "startContainer" => HookName::StartContainer,
            other => {
                return Err(Error::unsupported(format!(
                    "a CDI device with a {other} hook"
                )));
            }
        };
        Ok(CalledHook {
            name,
            path: self.path.clone(),
            args: self.args.clone(),
            env: self.env.clone(),
            timeout: self.timeout.filter(|seconds| *seconds > 0),
        })
    }
}

/// A program of the vendor's, called on the way to the container's first.
#[derive(Debug, PartialEq)]
struct CalledHook {
    name: HookName,
    path: PathBuf,
    args: Vec<String>,
    env: Vec<String>,
    timeout: Option<i64>,
}

impl CalledHook {
    fn hook(&self) -> Result<Hook> {
        let mut hook = HookBuilder::default().path(&self.path);
        if !self.args.is_empty() {
            hook = hook.args(self.args.clone());
        }
        if !self.env.is_empty() {
            hook = hook.env(self.env.clone());
        }
        if let Some(seconds) = self.timeout {
            hook = hook.timeout(seconds);
        }
        hook.build()
            .map_err(|error| Error::other(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = r#"{"cdiVersion": "0.6.0", "kind": "vendor.com/gpu",
        "containerEdits": {"env": ["ALL=1"]},
        "devices": [
            {"name": "0", "containerEdits": {"env": ["GPU=0"],
                "deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/null", "permissions": "r"}],
                "mounts": [{"hostPath": "/a", "containerPath": "/b", "options": ["ro", "bind"]}]}},
            {"name": "1", "containerEdits": {"env": ["GPU=1"], "additionalGids": [7]}},
            {"name": "gone", "containerEdits": {"deviceNodes": [{"path": "/nonsense"}]}},
            {"name": "after", "containerEdits": {"hooks": [{"hookName": "poststop", "path": "/x"}]}}]}"#;

    const SECOND: &str = "cdiVersion: 1.0.0\nkind: vendor.com/gpu\ndevices:\n- name: \"1\"\n  containerEdits:\n    env: [GPU=second]\n    hooks:\n    - hookName: createContainer\n      path: /bin/hook\n      args: [hook, x]\n      timeout: 3\n";

    struct Folders(PathBuf, Vec<PathBuf>);

    impl Drop for Folders {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn folders(files: &[(&str, &str)]) -> Folders {
        let name = format!("coracle-cdi-{}", crate::id::random_hex::<8>());
        let top = std::env::temp_dir().join(name);
        let mut folders = Vec::new();
        for (path, text) in files {
            let path = top.join(path);
            let folder = path.parent().unwrap().to_owned();
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(path, text).unwrap();
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        Folders(top, folders)
    }

    fn find(folders: &Folders, names: &[&str]) -> Result<Edits> {
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        Edits::find(&names, &folders.1)
    }

    #[test]
    fn names_are_told_from_paths() {
        for name in ["vendor.com/gpu=all", "v/c=0:1", "nvidia.com/gpu=GPU-1f"] {
            assert!(is_name(name), "{name}");
        }
        for path in [
            "/dev/a=b",
            "gpu=0",
            "vendor.com/gpu",
            "bad.com/x=",
            "a/b/c=d",
            "v/c=a=b",
        ] {
            assert!(!is_name(path), "{path}");
        }
    }

    #[test]
    fn devices_bring_what_their_files_say() {
        let folders = folders(&[("a/first.json", FIRST)]);
        let edits = find(&folders, &["vendor.com/gpu=0", "vendor.com/gpu=1"]).unwrap();
        assert_eq!(edits.env, ["ALL=1", "GPU=0", "GPU=1"]);
        assert_eq!(edits.groups, [7]);
        assert_eq!(
            edits.devices,
            [Device {
                source: "/dev/null".into(),
                destination: "/dev/gpu0".into(),
                permissions: "r".into(),
            }]
        );
        assert!(edits.mounts[0].read_only);
        assert_eq!(find(&folders, &[]).unwrap(), Edits::default());
    }

    #[test]
    fn a_later_folder_wins_and_twice_in_one_is_none() {
        let both = folders(&[("a/first.json", FIRST), ("b/second.yaml", SECOND)]);
        let edits = find(&both, &["vendor.com/gpu=1"]).unwrap();
        assert_eq!(edits.env, ["GPU=second"]);
        let mut spec = Spec::default();
        edits.hook(&mut spec).unwrap();
        let hooks = spec.hooks().clone().unwrap();
        let hook = &hooks.create_container().clone().unwrap()[0];
        assert_eq!(hook.args().clone().unwrap(), ["hook", "x"]);
        assert_eq!(hook.timeout(), Some(3));

        let same = folders(&[("a/first.json", FIRST), ("a/second.json", FIRST)]);
        assert!(find(&same, &["vendor.com/gpu=1"]).is_err());
    }

    #[test]
    fn what_cannot_be_is_named() {
        let all = folders(&[("a/first.json", FIRST), ("a/bad.json", "{\"cdiVersion")]);
        for (names, why) in [
            (
                &["vendor.com/gpu=7", "vendor.com/gpu=0", "x.com/y=z"][..],
                "setting up CDI devices: unresolvable CDI devices vendor.com/gpu=7, x.com/y=z",
            ),
            (
                &["vendor.com/gpu=gone"],
                "setting up CDI devices: failed to inject devices: failed to stat CDI host device \"/nonsense\": no such file or directory",
            ),
            (
                &["vendor.com/gpu=after"],
                "a CDI device with a poststop hook is not supported by coracle yet",
            ),
        ] {
            assert_eq!(find(&all, names).unwrap_err().to_string(), why);
        }
        let error = find(&all, &["x.com/y=z"]).unwrap_err();
        assert!(error.hint_line().unwrap().contains("bad.json: EOF"));
    }
}
