/** The form that asks for a token, and says what was wrong with the last one. */

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
      // People copy the quotes or the word "Bearer" along.
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
    // There is nothing to see behind it.
    this.dialog.addEventListener("cancel", (event) => event.preventDefault());
  }

  prompt(code: string): void {
    this.error.textContent = ERROR_TEXT[code] ?? `The server refused this token: ${code}.`;
    this.field.value = "";
    if (!this.dialog.open) this.dialog.showModal();
    this.field.focus();
  }
}
