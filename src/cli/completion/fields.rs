//! The fields that a command's `--format` knows, as templates name them.
//!
//! They are worked out one by one where they are asked for, so nothing lists them but
//! this; a test has every one of them evaluated.

use super::offer::Offers;

/// Commands by what is typed for them, and their fields; `A.B` is in `A`.
pub const FIELDS: &[(&str, &str)] = &[
    ("ps", CONTAINERS),
    ("images", IMAGES),
    ("inspect", CONTAINER),
    ("container inspect", CONTAINER),
    ("image inspect", IMAGE),
    ("volume inspect", VOLUME),
    ("volume ls", VOLUMES),
    ("volume snapshots", SNAPSHOTS),
    ("history", STEPS),
    ("search", FOUND),
    ("system df", USE),
    ("info", INFO),
    ("version", VERSION),
    ("stats", STATS),
    ("events", EVENTS),
    ("doctor", FINDINGS),
    ("explain", EXPLAINED),
    ("secret ls", SECRETS),
    ("secret inspect", SECRET),
];

/// The fields of a command's rows.
pub fn fields_of(command: &str) -> impl Iterator<Item = &'static str> {
    let found = FIELDS.iter().find(|(name, _)| *name == command);
    found.map_or("", |(_, fields)| fields).split_whitespace()
}

/// `json`, `table`, and fields where one is begun: `{{.`.
pub fn offers(command: &str, typed: &str) -> Offers {
    let open = typed.rfind("{{");
    let Some(open) = open.filter(|at| !typed[*at..].contains("}}")) else {
        let mut offers = Offers::fixed(&[("json", "For programs"), ("{{.", "A Go template")]);
        let is_one = matches!(command, "info" | "version" | "events" | "explain");
        if !is_one && !command.ends_with("inspect") {
            let table = "A table with these columns".to_owned();
            offers.words.push(("table {{.".to_owned(), table));
        }
        if typed.ends_with(' ') {
            offers
                .words
                .push((format!("{typed}{{{{."), "A field".to_owned()));
        }
        return offers;
    };
    // What is typed of the field: the last word within the braces that has a dot.
    let inside = &typed[open + 2..];
    let begun = &inside[inside.rfind([' ', '(']).map_or(0, |at| at + 1)..];
    let Some(path) = begun.strip_prefix('.') else {
        return match begun.is_empty() {
            true => Offers::of(vec![(format!("{typed}."), "A field".to_owned())]),
            false => Offers::default(),
        };
    };
    let before = &typed[..typed.len() - path.len()];
    let parent = path.rfind('.').map_or("", |at| &path[..=at]);
    let all: Vec<&str> = fields_of(command).collect();
    let mut words = Vec::new();
    for field in &all {
        let Some(name) = field.strip_prefix(parent).filter(|it| !it.contains('.')) else {
            continue;
        };
        let deeper = format!("{field}.");
        let has_parts = all.iter().any(|it| it.starts_with(&deeper));
        let about = if has_parts {
            "Has fields of its own"
        } else {
            ""
        };
        let end = if has_parts { "." } else { "}}" };
        words.push((format!("{before}{parent}{name}{end}"), about.to_owned()));
    }
    Offers::of(words)
}

const CONTAINERS: &str = "\
    AutoRemove Cgroup CIDFile Command Created CreatedAt CreatedHuman ExitCode Exited \
    ExitedAt ExposedPorts ID Image ImageID IPC IsInfra Labels MNT Mounts Names Namespaces \
    NET Networks Pid PIDNS Pod PodName Ports Restarts RunningFor Size StartedAt State Status \
    User USERNS UTS";

const IMAGES: &str = "\
    Arch Containers Created CreatedAt CreatedSince CreatedTime Dangling Digest History ID Id \
    IsManifestList Labels Names Os ParentId ReadOnly RepoDigests Repository RepoTags \
    SharedSize Size Tag VirtualSize";

const CONTAINER: &str = "\
    AppArmorProfile Args BoundingCaps Config Config.Annotations Config.AttachStderr \
    Config.AttachStdin Config.AttachStdout Config.Cmd Config.CreateCommand Config.Domainname \
    Config.Entrypoint Config.Env Config.HealthcheckMaxLogCount Config.HealthcheckMaxLogSize \
    Config.HealthcheckOnFailureAction Config.HealthLogDestination Config.Hostname \
    Config.Image Config.Labels Config.OnBuild Config.OpenStdin Config.Passwd \
    Config.StdinOnce Config.StopSignal Config.StopTimeout Config.Timeout Config.Tty \
    Config.Umask Config.User Config.Volumes Config.WorkingDir ConmonPidFile Created \
    Dependencies Driver EffectiveCaps ExecIDs GraphDriver GraphDriver.Data GraphDriver.Name \
    HostConfig HostConfig.Annotations HostConfig.AutoRemove HostConfig.AutoRemoveImage \
    HostConfig.Binds HostConfig.BlkioDeviceReadBps HostConfig.BlkioDeviceReadIOps \
    HostConfig.BlkioDeviceWriteBps HostConfig.BlkioDeviceWriteIOps HostConfig.BlkioWeight \
    HostConfig.BlkioWeightDevice HostConfig.CapAdd HostConfig.CapDrop HostConfig.Cgroup \
    HostConfig.CgroupConf HostConfig.CgroupManager HostConfig.CgroupMode \
    HostConfig.CgroupParent HostConfig.Cgroups HostConfig.ConsoleSize \
    HostConfig.ContainerIDFile HostConfig.CpuCount HostConfig.CpuPercent \
    HostConfig.CpuPeriod HostConfig.CpuQuota HostConfig.CpuRealtimePeriod \
    HostConfig.CpuRealtimeRuntime HostConfig.CpusetCpus HostConfig.CpusetMems \
    HostConfig.CpuShares HostConfig.Devices HostConfig.DiskQuota HostConfig.Dns \
    HostConfig.DnsOptions HostConfig.DnsSearch HostConfig.ExtraHosts HostConfig.GroupAdd \
    HostConfig.HostsFile HostConfig.IOMaximumBandwidth HostConfig.IOMaximumIOps \
    HostConfig.IpcMode HostConfig.Isolation HostConfig.KernelMemory HostConfig.Links \
    HostConfig.LogConfig HostConfig.LogConfig.Config HostConfig.LogConfig.Path \
    HostConfig.LogConfig.Size HostConfig.LogConfig.Tag HostConfig.LogConfig.Type \
    HostConfig.Memory HostConfig.MemoryReservation HostConfig.MemorySwap \
    HostConfig.MemorySwappiness HostConfig.NanoCpus HostConfig.NetworkMode \
    HostConfig.OomKillDisable HostConfig.OomScoreAdj HostConfig.PidMode HostConfig.PidsLimit \
    HostConfig.PortBindings HostConfig.Privileged HostConfig.PublishAllPorts \
    HostConfig.ReadonlyRootfs HostConfig.RestartPolicy \
    HostConfig.RestartPolicy.MaximumRetryCount HostConfig.RestartPolicy.Name \
    HostConfig.Runtime HostConfig.SecurityOpt HostConfig.ShmSize HostConfig.Tmpfs \
    HostConfig.Ulimits HostConfig.UsernsMode HostConfig.UTSMode HostConfig.VolumeDriver \
    HostConfig.VolumesFrom HostnamePath HostsPath Id Image ImageDigest ImageName IsInfra \
    IsService KubeExitCodePropagation MountLabel Mounts Name Namespace NetworkSettings \
    NetworkSettings.Bridge NetworkSettings.EndpointID NetworkSettings.Gateway \
    NetworkSettings.GlobalIPv6Address NetworkSettings.GlobalIPv6PrefixLen \
    NetworkSettings.HairpinMode NetworkSettings.IPAddress NetworkSettings.IPPrefixLen \
    NetworkSettings.IPv6Gateway NetworkSettings.LinkLocalIPv6Address \
    NetworkSettings.LinkLocalIPv6PrefixLen NetworkSettings.MacAddress \
    NetworkSettings.Networks NetworkSettings.Ports NetworkSettings.SandboxID \
    NetworkSettings.SandboxKey OCIRuntime Path PidFile Pod ProcessLabel ResolvConfPath \
    RestartCount Rootfs State State.CheckpointedAt State.Dead State.Error State.ExitCode \
    State.FinishedAt State.Health State.OciVersion State.OOMKilled State.Paused State.Pid \
    State.Restarting State.RestoredAt State.Running State.StartedAt State.Status StaticDir \
    UseImageHostname UseImageHosts";

const IMAGE: &str = "\
    Annotations Architecture Author Comment Config Config.Cmd Config.Entrypoint Config.Env \
    Config.ExposedPorts Config.Labels Config.StopSignal Config.User Config.Volumes \
    Config.WorkingDir Created Digest GraphDriver GraphDriver.Data GraphDriver.Name History \
    Id Labels ManifestType NamesHistory Os Parent RepoDigests RepoTags RootFS RootFS.Layers \
    RootFS.Type Size User Version VirtualSize";

const VOLUME: &str = "\
    Anonymous CreatedAt Driver GID Labels LockNumber MountCount Mountpoint Name NeedsChown \
    NeedsCopyUp Options Scope Status StorageID Timeout UID";

const VOLUMES: &str = "\
    Anonymous CreatedAt Driver GID Labels LastUsed LockNumber MountCount Mountpoint Name \
    NeedsChown NeedsCopyUp Options Origin Scope Size Status StorageID Timeout UID";

const SNAPSHOTS: &str = "\
    Created CreatedAt Name RawSize Size Volume";

const STEPS: &str = "\
    Comment Created CreatedAt CreatedBy CreatedSince ID Size Tags";

const FOUND: &str = "\
    Automated Description Index Name Official Stars Tag";

const USE: &str = "\
    Active RawReclaimable RawSize Reclaimable Size Total Type";

const INFO: &str = "\
    Host Host.Arch Host.CgroupControllers Host.CgroupManager Host.CgroupVersion Host.CPUs \
    Host.CPUUtilization Host.DatabaseBackend Host.Distribution Host.EventLogger \
    Host.Hostname Host.IDMappings Host.Kernel Host.Linkmode Host.LogDriver Host.MemFree \
    Host.MemTotal Host.NetworkBackend Host.OCIRuntime Host.OS Host.Pasta Host.RemoteSocket \
    Host.RootlessNetworkCmd Host.Security Host.ServiceIsRemote Host.SwapFree Host.SwapTotal \
    Host.Uptime Host.Variant Plugins Plugins.Authorization Plugins.Log Plugins.Network \
    Plugins.Volume Registries Store Store.ContainerStore Store.GraphDriverName \
    Store.GraphOptions Store.GraphRoot Store.GraphRootAllocated Store.GraphRootUsed \
    Store.GraphStatus Store.ImageCopyTmpDir Store.ImageStore Store.RunRoot \
    Store.TransientStore Store.VolumePath Version Version.APIVersion Version.BuildOrigin \
    Version.Built Version.BuiltTime Version.GitCommit Version.GoVersion Version.Os \
    Version.OsArch Version.Version";

const VERSION: &str = "\
    Client Client.APIVersion Client.BuildOrigin Client.Built Client.BuiltTime \
    Client.GitCommit Client.GoVersion Client.Os Client.OsArch Client.Version";

const STATS: &str = "\
    AVGCPU AvgCPU BlockInput BlockIO BlockOutput ContainerID CPU CPUNano CPUPerc \
    CPUSystemNano Duration ID MemLimit MemPerc MemUsage MemUsageBytes Name NetIO Network \
    PerCPU PIDS PIDs SystemNano Up UpTime";

const EVENTS: &str = "\
    Attributes ContainerExitCode ContainerInspectData Error HealthStatus ID Image Name \
    Network PodID Status Time TimeNano Type";

const FINDINGS: &str = "\
    Check Found Mend Verdict";

const EXPLAINED: &str = "\
    GidMap Id Image MapReason Mounts Name Path Path.Execute Path.Execute.Allowed \
    Path.Execute.Rule Path.Execute.Why Path.HostPath Path.Mode Path.Mount Path.Notes \
    Path.Owner Path.Owner.Gid Path.Owner.Group Path.Owner.HostGid Path.Owner.HostGroup \
    Path.Owner.HostUid Path.Owner.HostUser Path.Owner.Uid Path.Owner.User Path.Path \
    Path.Read Path.Read.Allowed Path.Read.Rule Path.Read.Why Path.Type Path.Write \
    Path.Write.Allowed Path.Write.Rule Path.Write.Why State UidMap User User.Gid User.Group \
    User.HostGid User.HostGroup User.HostUid User.HostUser User.Uid User.User";

const SECRETS: &str = "\
    CreatedAt Driver ID Name UpdatedAt";

const SECRET: &str = "\
    CreatedAt ID Spec Spec.Driver Spec.Driver.Name Spec.Driver.Options Spec.Labels Spec.Name \
    UpdatedAt";

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &str, typed: &str) -> Vec<String> {
        let offers = offers(command, typed).words.into_iter();
        let begun = offers
            .map(|(word, _)| word)
            .filter(|word| word.starts_with(typed));
        begun.collect()
    }

    #[test]
    fn fields_are_offered_where_one_is_begun() {
        for (command, typed, offered) in [
            ("ps", "", &["json", "{{.", "table {{."][..]),
            ("ps", "{{.Im", &["{{.Image}}", "{{.ImageID}}"]),
            (
                "ps",
                "table {{.Names}} {{.St",
                &[
                    "table {{.Names}} {{.StartedAt}}",
                    "table {{.Names}} {{.State}}",
                    "table {{.Names}} {{.Status}}",
                ],
            ),
            ("inspect", "{{.Sta", &["{{.State.", "{{.StaticDir}}"]),
            ("inspect", "{{.State.Pi", &["{{.State.Pid}}"]),
            ("inspect", "{{json .Config.Cm", &["{{json .Config.Cmd}}"]),
            ("inspect", "{{if", &[]),
            ("ps", "{{.ID}} ", &["{{.ID}} {{."]),
        ] {
            assert_eq!(words(command, typed), offered, "{command} {typed}");
        }
    }
}
