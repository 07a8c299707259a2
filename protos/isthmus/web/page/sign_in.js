// The token goes up in a header, once, and comes back as a cookie that no script can read.

const form = document.getElementById("door");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = document.getElementById("answer");
  const token = document.getElementById("token").value.trim();
  try {
    const reply = await fetch("login", { headers: { Authorization: `Bearer ${token}` } });
    if (reply.ok) {
      location.reload();
      return;
    }
    answer.textContent = reply.status === 401 ? "This is not the token." : `The server says ${reply.status}.`;
  } catch (error) {
    answer.textContent = error instanceof TypeError ? "The server does not answer." : String(error);
  }
});
