//! Containers that tests make up.

use super::Record;
use super::options::{Log, LogDriver, NamespaceMode, Options, Resources, RestartPolicy, Security};
use crate::network::{Hosts, NetworkMode};

/// A plain container's options: `sleep 1`, as root, on pasta.
pub fn options() -> Options {
    Options {
        argv: vec!["sleep".into(), "1".into()],
        entrypoint: vec![],
        command: vec!["sleep".into(), "1".into()],
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()],
        workdir: "/".into(),
        is_image_workdir: true,
        user: String::new(),
        hostname: None,
        labels: Default::default(),
        annotations: Default::default(),
        interactive: false,
        tty: false,
        remove: false,
        read_only: false,
        read_only_tmpfs: true,
        mounts: vec![],
        network: NetworkMode::PastaDefault,
        ports: vec![],
        exposed: vec![],
        hosts: Hosts::default(),
        init: false,
        privileged: false,
        cap_base: None,
        cap_add: vec![],
        cap_drop: vec![],
        security: Security::default(),
        devices: vec![],
        ulimits: vec![],
        sysctls: Default::default(),
        shm_size: 65_536_000,
        pid: NamespaceMode::Private,
        ipc: NamespaceMode::Shareable,
        uts: NamespaceMode::Private,
        cgroupns: NamespaceMode::Private,
        user_namespace: crate::userns::Mode::Unsaid,
        userns: None,
        accounts: crate::container::options::AccountOptions::default(),
        groups: vec![],
        umask: 0o022,
        stop_signal: 15,
        stop_timeout: 10,
        timeout: 0,
        restart: RestartPolicy::No,
        log: Log {
            driver: LogDriver::K8sFile,
            path: None,
            max_size: None,
            tag: None,
            filled_tag: None,
        },
        resources: Resources::default(),
        cgroup: Default::default(),
        cidfile: None,
        pidfile: None,
        monitor_pidfile: None,
        create_command: vec![],
        oom_score_adj: None,
        host_ulimits: false,
        timezone: None,
        health: None,
        health_log: Default::default(),
        personality: None,
        requires: vec![],
        remove_image: false,
        sdnotify: Default::default(),
        secrets: vec![],
        secret_variables: vec![],
        volumes_from: vec![],
        rootfs: None,
        systemd: None,
        named_devices: Vec::new(),
        step: None,
    }
}

/// The record of a container `web` of the image `localhost/busybox:latest`.
pub fn record(options: Options) -> Record {
    let zero = serde_json::json!({
        "id": "a".repeat(64), "name": "web", "created": "2025-01-01T00:00:00Z",
        "image": {"id": "b".repeat(64), "name": "localhost/busybox:latest", "layers": []},
        "options": options, "map": null, "map_reason": null,
    });
    serde_json::from_value(zero).unwrap()
}
