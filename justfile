# Verbs of daily work. `just` lists them.

default:
    @just --list

# Formats the code.
fmt:
    cargo fmt --all

# Checks formatting and lints.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# Runs everything that a change must pass.
test:
    scripts/test.sh

# Runs the long checks.
nightly:
    scripts/nightly.sh

# Evaluates the sample pull request with the control agents.
demo:
    cargo run --release -- demo

# Starts API, Redis and a worker.
run:
    scripts/run.sh

# Stops what `just run` started.
stop:
    scripts/stop.sh

# Regenerates generated files: settings, command line reference, OpenAPI document.
docs:
    UPDATE_GENERATED=1 cargo test -p cli --all-features --test architecture --test reference
    UPDATE_OPENAPI=1 cargo test -p api --all-features openapi

# Checks licences and advisories of dependencies. Needs network access.
deny:
    cargo deny check

# Builds the image.
image:
    docker build -f deploy/Dockerfile -t membreak .
