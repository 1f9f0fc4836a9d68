//! Features that need no key: model stub, local forge, conformance suite and demo material.
