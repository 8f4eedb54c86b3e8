//! What must happen while there is one thread; then `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle::cli::main()
}
