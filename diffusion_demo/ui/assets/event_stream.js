// Works around two race conditions in Gradio 6.31's client: events that are never answered, and cancellations without an id.
{
  const plainFetch = window.fetch;
  const accepted = new Map(); // function index -> promise of the id of its newest event
  const unfinished = new Set(), finishedEarly = new Set(); // ids of events

  const join = async (request, options) => {
    const response = plainFetch(request, options);
    const newest = response.then((r) => r.clone().json()).then((r) => r.event_id).catch(() => null);
    accepted.set(JSON.parse(options.body).fn_index, newest);
    const id = await newest;
    if (id && !finishedEarly.delete(id)) unfinished.add(id);
    return response;
  };

  // The client does not know the id of an event until the server has accepted it, and the server rejects a cancellation
  // without an id. Each cancellation is followed by a reset, which does nothing.
  const cancel = async (request, options) => {
    const event = JSON.parse(options.body), id = event.event_id || await accepted.get(event.fn_index);
    return id ? plainFetch(request, { ...options, body: JSON.stringify({ ...event, event_id: id }) }) : Response.json({});
  };

  // The server closes the stream when no events are left. If it accepts a new event just then, the client may register
  // the event before it receives "close_stream", and then waits on a closed stream. So that message is dropped and the
  // stream is reopened.
  const stream = async (request, options) => {
    const open = async () => {
      const response = await plainFetch(request, options);
      return [response, response.body.pipeThrough(new TextDecoderStream()).getReader()];
    };
    const encoder = new TextEncoder();
    let [response, reader] = await open();
    const relay = async (controller) => {
      for (let rest = "", chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
        const messages = (rest + chunk.value).split(/(?<=\n\n)/);
        rest = messages.at(-1).endsWith("\n\n") ? "" : messages.pop();
        for (const message of messages) {
          const { msg, event_id: id } = /"(close_stream|process_completed)"/.test(message) ? JSON.parse(message.slice(5)) : {};
          if (msg === "process_completed" && !unfinished.delete(id)) finishedEarly.add(id);
          if (msg !== "close_stream" || !unfinished.size) {
            controller.enqueue(encoder.encode(message));
            continue;
          }
          [response, reader] = await open();
          if (!response.ok) throw new Error(`The event stream could not be reopened: ${response.status}`);
        }
      }
    };
    const body = new ReadableStream({
      start: (controller) => { relay(controller).then(() => controller.close()).catch((error) => controller.error(error)); },
      cancel: (reason) => reader.cancel(reason),
    });
    return new Response(body, response);
  };

  window.fetch = (request, options) => {
    const { pathname } = new URL(request.url || request, location.href);
    const [, route] = pathname.match(/\/gradio_api\/(queue\/join|queue\/data|cancel|reset)$/) || [];
    return { "queue/join": join, "queue/data": stream, cancel, reset: cancel }[route]?.(request, options) ?? plainFetch(request, options);
  };
}
