//! A `wasi:http/middleware` of WASI 0.3: hands each request on to the handler behind it, and says in the head of the response
//! how long that took to answer: `server-timing: handler;dur=MILLISECONDS`. Bodies and trailers pass by it, both ways.

wit_bindgen::generate!({
    path: [
        "../../../core/wit/0.3/clocks.wit",
        "../../../core/wit/0.3/random.wit",
        "../../../core/wit/0.3/filesystem.wit",
        "../../../core/wit/0.3/sockets.wit",
        "../../../core/wit/0.3/cli.wit",
        "../../../core/wit/0.3/http.wit",
    ],
    inline: "
        package wharf:timing;

        world timing {
            import wasi:clocks/monotonic-clock@0.3.0;
            import wasi:http/handler@0.3.0;
            export wasi:http/handler@0.3.0;
        }
    ",
    world: "wharf:timing/timing",
    generate_all,
});

use exports::wasi::http::handler::Guest;
use wasi::clocks::monotonic_clock::now;
use wasi::http::handler::handle;
use wasi::http::types::{ErrorCode, Request, Response};

struct Timing;

export!(Timing);

impl Guest for Timing {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let begun = now();
        let answer = handle(request).await?;
        let took = (now() - begun) as f64 / 1e6;

        let status = answer.get_status_code();
        // Those of a response that came are not to be changed.
        let headers = answer.get_headers().clone();
        let timing = format!("handler;dur={took:.3}").into_bytes();
        headers.append("server-timing", &timing).map_err(|_| ErrorCode::InternalError(None))?;

        // The handler learns what becomes of its response from what becomes of this one.
        let (done, became) = wit_future::new(|| Ok(()));
        let (body, trailers) = Response::consume_body(answer, became);
        let (response, sent) = Response::new(headers, Some(body), trailers);
        response.set_status_code(status).map_err(|()| ErrorCode::InternalError(None))?;
        wit_bindgen::spawn_local(async move {
            // It need not care.
            _ = done.write(sent.await).await;
        });
        Ok(response)
    }
}
