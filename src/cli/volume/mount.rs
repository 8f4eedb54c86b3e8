use crate::cli::{Example, exactly};
use crate::container::volumes;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::volume;

/// Mount a volume and print where its files are
///
/// Works in a shell of `coracle unshare`, where files show the owners they have in
/// containers. A volume with a file system of its own is mounted there until `volume
/// unmount`, or until the shell ends.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_name = "VOLUME")]
    names: Vec<String>,
}

pub const EXAMPLES: &[Example] = &[Example {
    line: "coracle unshare sh -c 'ls $(coracle volume mount model_output)'",
    does: "List a volume's files from outside.",
}];

pub fn run(args: Args, engine: &Engine, output: &mut Output) -> Result<u8> {
    exactly(1, args.names.len())?;
    if !crate::userns::is_inside() {
        return Err(Error::usage(
            "cannot run command \"coracle volume mount\" in rootless mode, must execute `coracle unshare` first",
        ));
    }
    let volume = volume::find(&engine.storage, &args.names[0])?;
    output.line(volumes::mount(&engine.storage, &volume)?.display());
    Ok(0)
}
