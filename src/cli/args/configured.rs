//! containers.conf as if its keys were flags: what is given on the command line wins.

use super::create::CreateArgs;
use crate::settings::containers::Defaults;

impl CreateArgs {
    /// The same flags, with those that are not given as `defaults` say.
    #[must_use]
    pub fn configured(mut self, defaults: &Defaults) -> Self {
        let said = defaults.containers.clone();
        let engine = defaults.engine.clone();
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let or = |flag: &mut Option<String>, said: Option<String>| {
            if flag.is_none() {
                *flag = some(said);
            }
        };
        // Of what has a name the last one counts, so that flags come last.
        let before = |flags: &mut Vec<String>, said: Vec<String>| {
            flags.splice(0..0, said);
        };
        before(&mut self.labels.annotation, said.annotations);
        before(&mut self.resources.cgroup_conf, said.cgroup_conf);
        before(&mut self.security.ulimit, said.default_ulimits);
        before(&mut self.security.device, said.devices);
        before(&mut self.mounts.mount, said.mounts);
        before(&mut self.mounts.volume, said.volumes);
        self.env.configured = said.env;
        self.env.env_host |= said.env_host;
        self.env.http_proxy &= said.http_proxy.unwrap_or(true);
        self.network
            .configure(said.dns_servers, said.dns_searches, said.dns_options);
        self.network
            .configure_hosts(said.no_hosts, some(said.base_hosts_file));
        self.network
            .configure_mode(some(said.netns), &defaults.network.pasta_options);
        self.process.init |= said.init;
        self.security.privileged |= said.privileged;
        self.mounts.read_only |= said.read_only;
        self.security.default_sysctls = said.default_sysctls;
        self.security.default_capabilities = said.default_capabilities;
        or(&mut self.resources.cgroups, said.cgroups);
        or(&mut self.namespaces.cgroupns, said.cgroupns);
        or(&mut self.namespaces.ipc, said.ipcns);
        or(&mut self.namespaces.pid, said.pidns);
        or(&mut self.namespaces.uts, said.utsns);
        or(&mut self.process.shm_size, said.shm_size);
        or(&mut self.process.tz, said.tz);
        or(&mut self.process.umask, said.umask);
        or(&mut self.log.log_driver, said.log_driver);
        let mut options = Vec::new();
        options.extend(some(said.log_tag).map(|tag| format!("tag={tag}")));
        let size = said.log_size_max.filter(|size| *size > 0);
        options.extend(size.map(|size| format!("max-size={size}b")));
        before(&mut self.log.log_opt, options);
        let has = |key: &str| {
            let options = self.security.security_opt.iter();
            options.clone().any(|it| it.starts_with(key))
        };
        let mut options = Vec::new();
        if !has("seccomp") {
            options.extend(some(said.seccomp_profile).map(|path| format!("seccomp={path}")));
        }
        if !has("apparmor") {
            options.extend(some(said.apparmor_profile).map(|name| format!("apparmor={name}")));
        }
        before(&mut self.security.security_opt, options);
        self.resources.oom_score_adj = self.resources.oom_score_adj.or(said.oom_score_adj);
        self.resources.pids_limit = self.resources.pids_limit.or(said.pids_limit);
        if said.container_name_as_hostname {
            or(&mut self.process.hostname, self.lifetime.name.clone());
        }
        if let (Some(mode), "anonymous") = (engine.image_volume_mode, &*self.mounts.image_volume) {
            self.mounts.image_volume = mode;
        }
        or(&mut self.image.pull, engine.pull_policy);
        self.lifetime.stop_timeout = self.lifetime.stop_timeout.or(engine.stop_timeout);
        self
    }
}
