//! User namespaces: id maps, the caller's subordinate ids, and how work gets
//! done inside.
//!
//! ```text
//! /etc/subuid      alice:100000:65536
//! default map      container 0 -> alice (1000), 1..65536 -> 100000..165535
//! ```
//!
//! The map is written by `newuidmap` and `newgidmap` from outside, on the pid of
//! a process that has unshared. With no subordinate ids, or without the two
//! programs, only the caller is mapped (single-id mode).
//!
//! **Invariant:** nothing here waits for a container.

mod enter;
mod machine;
mod map;
pub mod mode;
mod subid;

pub use enter::{
    Begun, Pending, begin_apart, begin_as_caller, begin_beside, begin_in_child, in_child,
    in_child_beside, is_inside, leave_groups, map_of, nested, unshare_mounts, unshare_user,
    write_map,
};
pub use machine::{Fault, Machine, Ranges, helper};
pub use map::{IdMap, IdRange};
pub use mode::Mode;
pub use subid::{default_map, ranges_of, subordinate_ids};
