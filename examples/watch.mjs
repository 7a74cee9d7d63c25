// Lists the cameras and follows events, with reconnection. No packages are needed: the WebSocket
// of browsers is also in Node.js from version 22 on (with --experimental-websocket from 20.10 on).
//
//   CAMD_TOKEN=$(cat state/admin.key) node examples/watch.mjs

const URL = process.env.CAMD_URL ?? "ws://127.0.0.1:8002/ws";
const TOKEN = process.env.CAMD_TOKEN;

/** One connection: calls to await, notifications to `onEvent`. */
class Connection {
  #socket;
  #waiting = new Map();
  #number = 0;

  constructor(socket, onEvent) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => socket.addEventListener("close", resolve));
    this.closed.then(() => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the connection is lost"));
    });
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.method) return onEvent(message.method, message.params);
      const call = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error) call?.reject(Object.assign(new Error(message.error.message), message.error));
      else call?.resolve(message.result);
    });
  }

  static open(url, onEvent) {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url);
      const connection = new Connection(socket, onEvent);
      socket.addEventListener("open", () => resolve(connection));
      socket.addEventListener("error", () => reject(new Error(`cannot connect to ${url}`)));
    });
  }

  call(method, params = {}) {
    const id = ++this.#number;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }
}

let since; // the number of the last event

function show(method, params) {
  since = params.seq;
  if (method === "events_missed") console.log(`${params.seq} MISSED ${params.missed}`);
  else console.log(params.seq, method, params.camera_id ?? "", params.status ?? "");
}

for (let pause = 250; ; pause = Math.min(pause * 2, 30000)) {
  try {
    const service = await Connection.open(URL, show);
    // The key in the same call: past events come before new ones.
    const params = { auth_token: TOKEN, ...(since === undefined ? {} : { since }) };
    const subscribed = await service.call("subscribe_events", params);
    since ??= subscribed.newest;
    const { cameras } = await service.call("get_camera_list");
    for (const camera of cameras) console.log("camera", camera.camera_id, camera.status);
    pause = 250;
    await service.closed;
  } catch (error) {
    console.error(error.message);
    if (error.code === -32001) process.exit(1); // another try would be refused, too
  }
  await new Promise((resolve) => setTimeout(resolve, pause * (1 - Math.random() / 2)));
}
