pub fn become_init() {}
