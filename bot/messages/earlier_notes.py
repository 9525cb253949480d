"""Earlier wordings of the bot's notes, in every language they were posted in.

They are from before notes had a mark of their own, see :func:`bot.messages.conversation.is_note`. The list is
closed: a note that is reworded now needs no entry, because its mark does not depend on its words.
"""

from __future__ import annotations

EARLIER_LANGUAGES = ("de", "es", "fr", "pt_BR")
"""Languages of the notes from before the mark, besides English."""

EARLIER_NOTES = frozenset(
    {
        "Algo deu errado do meu lado: não tenho resposta. Quem administra o bot acha os detalhes "
        "no registro.",
        "Algo falló de mi lado y no tengo respuesta. Quien me administra verá los detalles en el registro.",
        "Aqui não consigo ler uma resposta sem menção. Deixe o @ da resposta ligado, por favor.",
        "Aquí no puedo leer una respuesta sin mención. Deja activada la @ de la respuesta, por favor.",
        "Bei mir ging etwas schief, darum habe ich keine Antwort. Wer mich betreibt, sieht mehr "
        "im Protokoll.",
        "C'est fini pour aujourd'hui : j'ai répondu aux {limit} messages de ce serveur. Je reviens {when}.",
        "C'est fini pour aujourd'hui : les {limit} jetons de ce serveur sont utilisés. Je reviens {when}.",
        "C'est tout pour aujourd'hui : j'ai répondu à tes {limit} messages. On se retrouve "
        "{when}. `/limits` montre ce qui reste.",
        "C'est tout pour aujourd'hui : nous avons utilisé les {limit} jetons auxquels tu as droit"
        " ici. On se retrouve {when}. `/limits` montre ce qui reste.",
        "Das war alles für heute: Ich habe deine {limit} Nachrichten beantwortet. Ich bin {when} "
        "wieder für dich da. `/limits` zeigt, was noch übrig ist.",
        "Das war alles für heute: Wir haben die {limit} Tokens verbraucht, die dir hier zustehen."
        " Ich bin {when} wieder für dich da. `/limits` zeigt, was noch übrig ist.",
        "Dazu ist mir nichts Gutes eingefallen. Kannst du es anders sagen?",
        "Eine Antwort ohne Erwähnung kann ich hier nicht lesen. Lass das @ der Antwort bitte eingeschaltet.",
        "Einen Moment, bitte: Ich beantworte noch die Nachrichten davor. Versuch es in einer Minute wieder.",
        "Eso fue todo por hoy: he respondido los {limit} mensajes que tiene este servidor. Vuelvo {when}.",
        "Eso fue todo por hoy: he respondido tus {limit} mensajes. Vuelvo a estar para ti {when}."
        " `/limits` muestra lo que queda.",
        "Eso fue todo por hoy: hemos gastado los {limit} tokens que te corresponden aquí. Vuelvo "
        "a estar para ti {when}. `/limits` muestra lo que queda.",
        "Eso fue todo por hoy: se gastaron los {limit} tokens que tiene este servidor. Vuelvo {when}.",
        "I cannot read a reply without a mention here. Leave the @ of the reply switched on, please.",
        "I cannot read everything that you attached: I read text files up to 64 KB. Copy what "
        "matters into a message, and I will answer.",
        "I cannot read pictures. Put what matters into words, and I will answer.",
        "I found nothing good to say to that. Could you put it in other words?",
        "Ich kann keine Bilder lesen. Fass in Worte, worauf es ankommt, dann antworte ich.",
        "Ich kann nicht alles lesen, was du angehängt hast: Ich lese Textdateien bis 64 KB. "
        "Kopiere, worauf es ankommt, in eine Nachricht, dann antworte ich.",
        "Ici, je ne peux pas lire une réponse sans mention. Laisse le @ de la réponse activé, s'il te plaît.",
        "Je n'ai rien trouvé de bien à répondre. Peux-tu le dire autrement ?",
        "Je ne peux pas lire les images. Mets en mots ce qui compte, et je te répondrai.",
        "Je ne peux pas lire tout ce que tu as joint : je lis les fichiers texte jusqu'à 64 Ko. "
        "Copie ce qui compte dans un message, et je te répondrai.",
        "Meu modelo de linguagem não está respondendo agora. Tente de novo daqui a alguns "
        "minutos, por favor.",
        "Mi modelo de lenguaje no responde ahora. Vuelve a intentarlo en unos minutos, por favor.",
        "Mon modèle de langage ne répond pas en ce moment. Réessaie dans quelques minutes.",
        "My language model does not answer right now. Please try again in a few minutes.",
        "No encontré nada bueno que decir sobre eso. ¿Podrías decirlo con otras palabras?",
        "No puedo leer todo lo que adjuntaste: leo archivos de texto de hasta 64 KB. Copia lo que"
        " importa en un mensaje y te responderé.",
        "No puedo ver imágenes. Pon en palabras lo que importa y te responderé.",
        "Não consigo ler imagens. Ponha o que importa em palavras, e eu respondo.",
        "Não consigo ler tudo o que você anexou: leio arquivos de texto de até 64 KB. Copie o que"
        " importa para uma mensagem, e eu respondo.",
        "Não encontrei nada bom para dizer sobre isso. Você pode dizer com outras palavras?",
        "One moment, please: I am still answering the messages before this one. Try again in a minute.",
        "Por hoje é só: já respondi às suas {limit} mensagens. Volto para você {when}. `/limits` "
        "mostra o que resta.",
        "Por hoje é só: já respondi às {limit} mensagens que este servidor tem. Volto {when}.",
        "Por hoje é só: já usamos os {limit} tokens que você tem aqui. Volto para você {when}. "
        "`/limits` mostra o que resta.",
        "Por hoje é só: os {limit} tokens que este servidor tem já foram usados. Volto {when}.",
        "Schluss für heute: Die {limit} Nachrichten dieses Servers sind beantwortet. Ich bin {when} zurück.",
        "Schluss für heute: Die {limit} Tokens dieses Servers sind verbraucht. Ich bin {when} zurück.",
        "Something went wrong on my side, so I have no answer. The host finds the details in the log.",
        "That was all for today: I have answered the {limit} messages that this server has. I am "
        "back {when}.",
        "That was all for today: I have answered your {limit} messages. I am back for you {when}."
        " `/limits` shows what is left.",
        "That was all for today: the {limit} tokens that this server has are used up. I am back {when}.",
        "That was all for today: we have used up the {limit} tokens that are yours here. I am "
        "back for you {when}. `/limits` shows what is left.",
        "Um momento, por favor: ainda respondo às mensagens anteriores. Tente de novo daqui a um minuto.",
        "Un instant, s'il te plaît : je réponds encore aux messages précédents. Réessaie dans une minute.",
        "Un momento, por favor: aún respondo a los mensajes anteriores. Vuelve a intentarlo en un minuto.",
        "Un souci de mon côté : je n'ai pas de réponse. Les détails sont dans le journal de qui me gère.",
        "You called? Write something after my name and I will answer. Pictures and files I cannot read yet.",
    }
)
"""Texts; a name in braces stands for a value."""
