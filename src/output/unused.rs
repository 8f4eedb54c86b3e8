//! Fields that Go's structs have and ours have not: of things that never are here, of
//! other names in JSON, and of structs that are part of another.

use super::value::Value;

/// What a template finds in such a field.
pub enum Unused {
    Is(Value),
    /// What the field of this name is, which is the one in JSON.
    Called(&'static str),
    /// The struct's own fields are those of the one that is part of it.
    Itself,
}

/// The field `name` of the Go struct `of`.
pub fn field(of: &str, name: &str) -> Option<Unused> {
    use Unused::{Called, Is, Itself};
    Some(match (of.trim_start_matches('*'), name) {
        ("define.InspectContainerState", "Checkpointed" | "Restored") => Is(Value::Bool(false)),
        ("define.InspectContainerState", "CheckpointLog" | "CheckpointPath" | "RestoreLog") => {
            Is(Value::text(""))
        }
        ("define.InspectNetworkSettings", "InspectBasicNetworkConfig") => Itself,
        ("define.InspectNetworkSettings", "SecondaryIPAddresses" | "SecondaryIPv6Addresses")
        | ("define.InspectNetworkSettings", "AdditionalMacAddresses") => Is(Value::NilList),
        ("define.InspectContainerConfig", "StartupHealthCheck") => Is(Value::Nil),
        ("define.InspectContainerConfig", "HealthMaxLogCount") => Called("HealthcheckMaxLogCount"),
        ("define.InspectContainerConfig", "HealthMaxLogSize") => Called("HealthcheckMaxLogSize"),
        ("define.InspectContainerConfig", "V4PodmanCompatMarshal") => Is(Value::Bool(false)),
        ("define.InspectContainerConfig", "Timezone" | "SdNotifySocket") => Is(Value::text("")),
        ("define.InspectContainerConfig", "ChrootDirs") => Is(Value::NilList),
        ("define.InspectContainerConfig", "SystemdMode") => Is(Value::Bool(false)),
        ("types.ImageSummary", "ReadOnly") => Is(Value::Bool(false)),
        ("types.ImageSummary", "Arch" | "Os") => Is(Value::text("")),
        ("types.ImageSummary", "IsManifestList") => Is(Value::Nil),
        ("define.HostInfo", "CgroupsVersion") => Called("cgroupVersion"),
        ("define.HostInfo", "RuntimeInfo") => Is(Value::NilMap),
        ("define.HostInfo", "EmulatedArchitectures") => Is(Value::NilList),
        ("define.SecurityInfo", "DefaultCapabilities") => Called("capabilities"),
        ("define.InspectContainerHostConfig", "IntelRdtClosID") => Is(Value::text("")),
        (
            "manifest.Schema2HealthConfig" | "define.StartupHealthCheck",
            "StartPeriod" | "StartInterval" | "Interval" | "Timeout",
        ) => Is(Value::Duration(0)),
        ("manifest.Schema2HealthConfig" | "define.StartupHealthCheck", "Retries" | "Successes") => {
            Is(Value::Int(0))
        }
        ("manifest.Schema2HealthConfig", "Test") => Is(Value::NilList),
        _ => return None,
    })
}
