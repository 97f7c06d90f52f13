// An event in words, its icon, and the kind that it belongs to. Knows no page.

import { t } from "/static/shared/i18n.js";
import { timeWords } from "/static/shared/time.js";

// What the timeline can be narrowed to.
export const KINDS = ["session", "people", "media", "recording"];

const LOOKS = {
  session_opened: ["session", "calendar"],
  session_started: ["session", "forward", "good"],
  session_ended: ["session", "end", "warn"],
  participant_joined: ["people", "person", "good"],
  participant_disconnected: ["people", "warning", "warn"],
  participant_reconnected: ["people", "reconnect", "good"],
  participant_left: ["people", "leave"],
  camera_changed: ["media", "camera"],
  mic_changed: ["media", "microphone"],
  recording_consent_granted: ["recording", "check", "good"],
  recording_consent_revoked: ["recording", "close", "warn"],
  recording_enabled: ["recording", "record", "alarm"],
  recording_disabled: ["recording", "record"],
  recording_permitted: ["recording", "record", "alarm"],
  recording_withdrawn: ["recording", "record"],
  recording_attached: ["recording", "record", "good"],
  user_erased: ["people", "person"],
};

export function lookOf({ type, data }) {
  const [kind, icon, tone = ""] = LOOKS[type] ?? ["session", "info"];
  const isOff = data.cameraEnabled === false || data.micEnabled === false;
  return { kind, tone, icon: kind === "media" && isOff ? `${icon}Off` : icon };
}

export function sentence({ type, data, actor }) {
  const values = { who: data.userId };
  switch (type) {
    case "session_ended":
      return t("event.session_ended", { reason: reasonWords("end", data.reason) });
    case "participant_disconnected":
      return t("event.participant_disconnected", {
        ...values,
        reason: reasonWords("lost", data.reason),
        time: timeWords(data.reconnectBy),
      });
    case "participant_left":
      if (data.reason === "removed" && data.message) {
        return t("event.participant_left.removed_because", { ...values, message: data.message });
      }
      return t(`event.participant_left.${data.reason}`, values);
    case "camera_changed":
      return t(`event.camera_changed.${data.cameraEnabled}`, values);
    case "mic_changed":
      if (!data.micEnabled && actor.userId !== data.userId) {
        return t("event.mic_changed.muted", values);
      }
      return t(`event.mic_changed.${data.micEnabled}`, values);
    case "recording_consent_granted":
    case "recording_consent_revoked":
      return data.policyVersion
        ? `${t(`event.${type}`, values)} ${t("event.policy", { version: data.policyVersion })}`
        : t(`event.${type}`, values);
    case "recording_permitted":
    case "recording_withdrawn":
      return t(`event.${type}`, { ...values, reason: reasonWords("permission", data.reason) });
    default:
      // An event of a newer server keeps its own name.
      return type in LOOKS ? t(`event.${type}`, values) : type;
  }
}

export function reasonWords(kind, reason) {
  const key = `${kind}.${reason}`;
  const words = t(key);
  return words === key ? reason : words;
}

export function actorWords({ userId, role }) {
  return role === "system" ? t("role.system") : t("actor", { userId, role: t(`role.${role}`) });
}
