// Mends two faults of Gradio 6.31's client, which loses an event that is sent or canceled at certain moments.
{
  const plainFetch = window.fetch;
  const joining = new Map(); // from the index of a function to the promise of its newest event's id
  const unfinished = new Set(), finishedEarly = new Set(); // ids of events

  const join = async (request, options) => {
    const response = plainFetch(request, options);
    joining.set(JSON.parse(options.body).fn_index, response.then((r) => r.clone().json()).then((r) => r.event_id, () => null));
    const { event_id: id } = await response.then((r) => r.clone().json()).catch(() => ({}));
    if (id && !finishedEarly.delete(id)) unfinished.add(id);
    return response;
  };

  // The id of an event is unknown until the server has accepted it, and the server can cancel none without an id.
  // A reset, which does nothing, follows each cancellation.
  const cancel = async (request, options) => {
    const event = JSON.parse(options.body), id = event.event_id || await joining.get(event.fn_index);
    return id ? plainFetch(request, { ...options, body: JSON.stringify({ ...event, event_id: id }) }) : Response.json({});
  };

  // The server closes the stream when no event is left. One that it accepts just then may be known here before the message
  // arrives, and would wait for a closed stream. So the message is left out, and the stream opened again.
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
          if (!response.ok) throw new Error(`The server does not continue the events: ${response.status}`);
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
