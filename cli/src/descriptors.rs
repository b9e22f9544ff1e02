//! How many descriptors wharf may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for as many as the operating system lets this process have.
///
/// It gives a process few at first, often 1024, because of programs that know no more. A guest with a thousand
/// connections needs a thousand; how many one may have is `--max-sockets`.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        if let Err(error) = raised {
            tracing::debug!("cannot raise the limit of {:?} open descriptors: {error}", limit.current);
        }
    }
}
