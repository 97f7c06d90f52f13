// Compiled, never run: what the declarations allow, and by `@ts-expect-error` what they must not.

import { CoordinatorClient, CoordinatorError } from "coordinator-client";

const client = new CoordinatorClient({ url: "http://127.0.0.1:8080", token: async () => "token" });
const room = client.room("66f1c0ffee5e5510c0ffee01");
room.on("camera_changed", (event) => {
  const isOn: boolean = event.data.cameraEnabled;
  console.log(event.seq + 1, isOn, event.actor.role === "moderator");
});
room.on("event", (event) => {
  if (event.type === "session_ended") {
    const reason: string = event.data.reason;
    console.log(reason);
  }
});
room.on("closed", ({ code }) => console.log(code === "removed"));
room.join().catch((error: CoordinatorError) => console.log(error.code === "not_registered", error.retryable));
const me = room.participants.get("ada")?.presence === "away";
console.log(me, room.session?.status === "active");

// @ts-expect-error there is no such event
room.on("camera_exploded", () => undefined);
// @ts-expect-error a flag is no text
room.setMedia({ cameraEnabled: "yes" });
// @ts-expect-error what others read must not be changed
room.seq = 1;
// @ts-expect-error a token is needed
new CoordinatorClient({ url: "http://127.0.0.1:8080" });
