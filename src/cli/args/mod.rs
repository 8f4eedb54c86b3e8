//! Flags that several commands share.

pub mod filter;
pub mod network;
pub mod select;
pub fn detach_keys(_: Option<&str>) -> crate::error::Result<Vec<u8>> {
    Ok(vec![16, 17])
}
pub mod env {
    pub fn extra(e: &[String], _: &[String]) -> crate::error::Result<Vec<String>> {
        Ok(e.to_vec())
    }
}
