/** Form that asks for a token and shows why the last one was refused. */

import { byId } from "./dom";

const ERROR_TEXT: Record<string, string> = {
  token_required: "",
  token_invalid: "This token is not valid here. Was it cut off, or signed with another secret?",
  token_expired: "This token has expired. Make a new one.",
  wrong_user_type: "This token is not an operator’s. It needs the user type ADMIN.",
};

export class SignIn {
  private readonly dialog = byId<HTMLDialogElement>("sign-in");
  private readonly field = byId<HTMLTextAreaElement>("token");
  private readonly error = byId("sign-in-error");

  constructor(onToken: (token: string) => void) {
    const form = this.dialog.querySelector("form")!;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      // The quotes or the word "Bearer" are often copied along.
      const token = this.field.value.trim().replace(/^(Bearer\s+|["'])|["']$/g, "");
      if (!token) return;
      this.dialog.close();
      onToken(token);
    });
    this.field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      form.requestSubmit();
    });
    // Without a token there is nothing to show behind it.
    this.dialog.addEventListener("cancel", (event) => event.preventDefault());
  }

  prompt(code: string): void {
    this.error.textContent = ERROR_TEXT[code] ?? `The server refused this token: ${code}.`;
    this.field.value = "";
    if (!this.dialog.open) this.dialog.showModal();
    this.field.focus();
  }
}
