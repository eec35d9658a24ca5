// The confirmation is a formality here: the person already asked to leave.
document.querySelector('button[name="logout"]').click();
