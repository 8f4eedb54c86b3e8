//! temporary
use super::{Record, Options};
use super::host::Host;
use crate::error::Result;
use crate::runtime::capability::*;
use crate::runtime::seccomp::Profile;
use serde_json::json;
pub fn capabilities(_: &Options, uid: u32) -> Result<Capabilities> { 
  let d = CapSet::of(&[Capability::CHOWN, Capability::DAC_OVERRIDE, Capability::FOWNER, Capability::KILL, Capability::SETGID, Capability::SETUID, Capability::SETPCAP, Capability::NET_BIND_SERVICE, Capability::SYS_CHROOT, Capability::SETFCAP, Capability::FSETID]);
  Ok(if uid == 0 { Capabilities::root(d) } else { Capabilities { bounding: d, ..Default::default() } }) }
pub fn seccomp_profile(_: &Options) -> Profile<'_> { Profile::Default }
pub fn exec_process(_: &Options, _: &super::exec::Exec, _: &super::user::User) -> Result<()> { Ok(()) }
pub fn spec(record: &Record, host: &Host) -> Result<libcontainer::oci_spec::runtime::Spec> {
  let o = &record.options;
  let mut mounts = vec![
   json!({"destination":"/proc","type":"proc","source":"proc"}),
   json!({"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","strictatime","mode=755","size=65536k"]}),
   json!({"destination":"/dev/pts","type":"devpts","source":"devpts","options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620","gid=5"]}),
   json!({"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev","ro"]}),
  ];
  for (m, s) in o.mounts.iter().zip(&host.sources) { if let Some(s) = s { mounts.push(json!({"destination": m.destination, "type":"bind","source": s, "options":["rbind"]})); } }
  let v = json!({"ociVersion":"1.2.0","root":{"path":host.root},"hostname":record.id.short(),
   "process":{"args":o.argv,"env":o.env,"cwd":o.workdir,"user":{"uid":host.user.uid,"gid":host.user.gid}},
   "mounts":mounts,
   "linux":{"cgroupsPath":"/coracle-none/none","namespaces":[{"type":"pid"},{"type":"mount"},{"type":"uts"},{"type":"ipc"},{"type":"network"},{"type":"cgroup"}]}});
  Ok(serde_json::from_value(v)?)
}
