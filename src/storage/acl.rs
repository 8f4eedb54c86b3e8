//! Access control lists, as extended attributes have them (acl(5);
//! linux/posix_acl_xattr.h): a version, then a tag, permissions and an id for each
//! entry, all little-endian.

/// Whom an entry of a list is about.
pub enum Whom<'a> {
    User(&'a mut u32),
    Group(&'a mut u32),
}

const USER: u16 = 0x02;
const GROUP: u16 = 0x08;

/// Whether the attribute `name` is a list.
pub fn is_list(name: &[u8]) -> bool {
    name.starts_with(b"system.posix_acl_")
}

/// Shows each id in the list `value` to `see`, and puts it back as `see` leaves it.
pub fn each_id(value: &mut [u8], mut see: impl FnMut(Whom)) {
    let entries = value.get_mut(4..).unwrap_or_default();
    for entry in entries.chunks_exact_mut(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let mut id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        match tag {
            USER => see(Whom::User(&mut id)),
            GROUP => see(Whom::Group(&mut id)),
            _ => continue,
        }
        entry[4..8].copy_from_slice(&id.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_users_and_groups_have_ids() {
        let entry = |tag: u8, id: u8| [tag, 0, 7, 0, id, 0, 0, 0];
        let list = |user, group| {
            let all = [entry(1, 9), entry(2, user), entry(8, group), entry(0x10, 9)];
            [&[2, 0, 0, 0], all.concat().as_slice()].concat()
        };
        let mut value = list(5, 6);
        each_id(&mut value, |whom| match whom {
            Whom::User(id) => *id += 10,
            Whom::Group(id) => *id += 20,
        });
        assert_eq!(value, list(15, 26));
        // What is no list is left alone.
        for length in 0..list(5, 6).len() {
            each_id(&mut list(5, 6)[..length], |_| {});
        }
    }
}
