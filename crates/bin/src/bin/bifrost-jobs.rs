//! The worker of the stack. Settings come from the environment; see `.env.example`.

fn main() -> std::process::ExitCode {
    bifrost_bin::run::main(bifrost_boot::settings::Mode::Jobs)
}
